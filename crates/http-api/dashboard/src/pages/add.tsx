import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ask, post, type Finding } from '../api.ts'
import { Action, Findings, Page, Trouble } from '../parts.tsx'
import { go } from '../route.ts'
import { check, Editor, findingsOf } from './topology.tsx'

const START = `format = 1
cluster = "prod"
etcd = "3.5.33"

[ssh]
key = "source:ssh-key"
known-hosts = "source:known-hosts"

[[member]]
name = "m1"
host = "root@10.0.1.10"

[[member]]
name = "m2"
host = "root@10.0.1.11"

[[member]]
name = "m3"
host = "root@10.0.1.12"
`

/** The cluster's name in a topology, as its file is to be called. */
function nameIn(text: string): string {
  return /^\s*cluster\s*[=:]\s*"?([A-Za-z0-9._-]+)"?/m.exec(text)?.[1] ?? ''
}

export function AddPage(): JSX.Element {
  const [text, setText] = useState(START)
  const [findings, setFindings] = useState<Finding[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [hosts, setHosts] = useState('')
  const [cluster, setCluster] = useState('')
  const [looking, setLooking] = useState(false)
  const name = nameIn(text)
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setError(null)
    try {
      await work()
    } catch (failed) {
      const placed = findingsOf(failed)
      if (placed) setFindings(placed)
      else setError(failed)
    }
  }
  const add = (): Promise<void> => attempt(async () => {
    await ask('PUT', `/v1/clusters/${name}/topology`, { text, headers: { 'If-None-Match': '*' } })
    go('clusters', name)
  })
  const adopt = (): Promise<void> => attempt(async () => {
    setLooking(true)
    try {
      const targets = hosts.split(/[\s,]+/).filter(Boolean)
      const ssh = { key: 'source:ssh-key', 'known-hosts': 'source:known-hosts' }
      const found = await post<{ topology: string; findings: Finding[] }>('/v1/adopt', { cluster, targets, ssh })
      setText(found.topology)
      setFindings(found.findings)
    } finally {
      setLooking(false)
    }
  })
  const marked = new Set((findings ?? []).flatMap((found) => found.line ?? []))
  return (
    <Page title="Add a cluster">
      <details class="box">
        <summary>From a cluster that runs</summary>
        <label>Name <input value={cluster} onInput={(event) => setCluster(event.currentTarget.value)} /></label>
        <label>Hosts <input value={hosts} placeholder="root@10.0.1.10 root@10.0.1.11" onInput={(event) => setHosts(event.currentTarget.value)} /></label>
        <Action role="operator" busy={looking || !cluster || !hosts} onClick={() => void adopt()}>{looking ? 'Looking at the hosts…' : 'Read its topology'}</Action>
      </details>
      <Editor text={text} marked={marked} onInput={setText} label="Topology" />
      <div class="actions">
        <Action role="operator" kind="main" busy={!name} onClick={() => void add()}>Add {name}</Action>
        <button type="button" disabled={!name} onClick={() => void attempt(async () => setFindings(await check(name, text)))}>Check</button>
      </div>
      <p class="quiet">Nothing on a host is changed by this. Hosts and files are those that <code>sources.toml</code> of the server lists.</p>
      {error !== null && <Trouble error={error} />}
      {findings && (findings.length === 0 ? <p>No problems found.</p> : <Findings findings={findings} />)}
    </Page>
  )
}
