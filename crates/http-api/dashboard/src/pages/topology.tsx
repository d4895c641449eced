import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ask, may, Refused, type Finding } from '../api.ts'
import { Action, Confirm, Findings, Loading, Trouble } from '../parts.tsx'
import { go } from '../route.ts'

interface Read {
  text: string
  tag: string
}

/** A text with line numbers; lines that something was found about are marked. */
export function Editor({ text, marked, onInput, label }: {
  text: string
  marked: Set<number>
  onInput: (text: string) => void
  label: string
}): JSX.Element {
  const numbers = useRef<HTMLPreElement>(null)
  const rows = text.split('\n')
  return (
    <div class="editor">
      <pre ref={numbers} aria-hidden="true">
        {rows.map((_, index) => (
          <span key={index} class={marked.has(index + 1) ? 'marked' : undefined}>{marked.has(index + 1) ? '!' : ''}{index + 1}{'\n'}</span>
        ))}
      </pre>
      <textarea aria-label={label} spellcheck={false} rows={Math.min(40, rows.length + 2)} wrap="off" value={text}
        onInput={(event) => onInput(event.currentTarget.value)}
        onScroll={(event) => {
          if (numbers.current) numbers.current.scrollTop = event.currentTarget.scrollTop
        }} />
    </div>
  )
}

/** Checks a topology without any host. */
export async function check(name: string, text: string): Promise<Finding[]> {
  try {
    const answer = await ask<{ findings: Finding[] }>('POST', `/v1/clusters/${name}/check`, { text })
    return answer.body.findings
  } catch (error) {
    const found = findingsOf(error)
    if (!found) throw error
    return found
  }
}

/** What was found about a topology that was refused, each with its line; null for any other refusal. */
export function findingsOf(error: unknown): Finding[] | null {
  if (!(error instanceof Refused) || error.problem.status !== 422) return null
  const problem = error.problem
  const own: Finding = {
    id: problem.type.replace('urn:etcdup:', ''), verdict: 'error', subject: 'topology', evidence: problem.detail,
    advice: '', line: problem.line ?? null, column: problem.column ?? null,
  }
  return problem.findings?.length ? (problem.findings as Finding[]) : [own]
}

/** Texts that are being written, by cluster: signing in again, or another tab, loses none. */
const drafts = new Map<string, string>()
addEventListener('beforeunload', (event) => {
  if (drafts.size > 0) event.preventDefault()
})

export function Topology({ name }: { name: string }): JSX.Element {
  const [read, setRead] = useState<Read | null>(null)
  const [text, setText] = useState('')
  const [other, setOther] = useState<Read | null>(null)
  const [findings, setFindings] = useState<Finding[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [saved, setSaved] = useState(false)
  const [deleting, setDeleting] = useState(false)
  const path = `/v1/clusters/${name}/topology`
  const fetch = async (): Promise<Read> => {
    const { body, headers } = await ask<string>('GET', path)
    return { text: body, tag: headers.get('ETag') ?? '' }
  }
  const load = async (): Promise<void> => {
    setError(null)
    try {
      const found = await fetch()
      setRead(found)
      setText(drafts.get(name) ?? found.text)
      setOther(null)
    } catch (failed) {
      setError(failed)
    }
  }
  useEffect(() => {
    if (may('operator')) void load()
  }, [name])
  const write = (next: string): void => {
    setText(next)
    if (next === read?.text) drafts.delete(name)
    else drafts.set(name, next)
  }
  if (!may('operator')) return <p>A topology is shown to operators: it names keys and files.</p>
  if (!read) return error ? <Trouble error={error} again={() => void load()} /> : <Loading what="the topology" />
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setError(null)
    setSaved(false)
    try {
      await work()
    } catch (failed) {
      const placed = findingsOf(failed)
      if (placed) setFindings(placed)
      else setError(failed)
      if (failed instanceof Refused && failed.problem.status === 412) setOther(await fetch().catch(() => null))
    }
  }
  const save = (): Promise<void> => attempt(async () => {
    const { headers } = await ask('PUT', path, { text, headers: { 'If-Match': read.tag } })
    setRead({ text, tag: headers.get('ETag') ?? '' })
    setSaved(true)
    drafts.delete(name)
    setFindings(await check(name, text))
  })
  const remove = (): Promise<void> => attempt(async () => {
    await ask('DELETE', path, { headers: { 'If-Match': read.tag } })
    go('clusters')
  })
  const marked = new Set((findings ?? []).flatMap((found) => found.line ?? []))
  return (
    <section>
      <Editor text={text} marked={marked} onInput={write} label={`Topology of ${name}`} />
      <div class="actions">
        <Action role="operator" kind="main" busy={text === read.text} onClick={() => void save()}>Save</Action>
        <button type="button" onClick={() => void attempt(async () => setFindings(await check(name, text)))}>Check</button>
        <Action role="admin" onClick={() => setDeleting(true)}>Delete the file</Action>
      </div>
      <p role="status">{saved ? 'Saved; nothing on the hosts was changed. Plan shows what an apply would do.' : ''}</p>
      {error !== null && <Trouble error={error} />}
      {other && (
        <section class="trouble">
          <p>Somebody changed the topology meanwhile. This is what is there now:</p>
          <pre class="text">{other.text}</pre>
          <button type="button" onClick={() => { setRead(other); setOther(null); setError(null) }}>Overwrite with my version</button>
          <button type="button" onClick={() => { drafts.delete(name); void load() }}>Take theirs</button>
        </section>
      )}
      {findings && (findings.length === 0 ? <p>No problems found.</p> : <Findings findings={findings} />)}
      {deleting && <Confirm cluster={name} what="Delete the topology" onClose={() => setDeleting(false)} onDone={() => { setDeleting(false); void remove() }}
        loss={<p>The file is deleted here. The cluster goes on, and nobody watches it any more.</p>} />}
    </section>
  )
}
