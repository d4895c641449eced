import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ask, get, post, type Certificates, type Cluster, type Finding, type Hosts, type Member, type Plan, type Point, type Report, type Status } from '../api.ts'
import { Chart, lines } from '../chart.tsx'
import { clusters, health, now, stale } from '../live.ts'
import { Action, Findings, Loading, Page, State, Trouble, useLoaded } from '../parts.tsx'
import { go, to } from '../route.ts'
import { bytes, moment, roleOf, until } from '../words.ts'
import { figures } from './clusters.tsx'
import { Elsewhere, Operations } from './operations.tsx'
import { Stages } from './plan.tsx'
import { SnapshotTable } from './snapshots.tsx'
import { Topology } from './topology.tsx'

const TABS: [string, string][] = [
  ['members', 'Members'],
  ['topology', 'Topology'],
  ['checks', 'Checks'],
  ['certificates', 'Certificates'],
  ['hosts', 'Hosts'],
  ['drift', 'Drift'],
  ['snapshots', 'Snapshots'],
  ['history', 'History'],
]

export function ClusterPage({ name, tab }: { name: string; tab: string }): JSX.Element {
  const cluster = clusters.value?.get(name)
  const [trouble, setTrouble] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const plan = async (body: object): Promise<void> => {
    setBusy(true)
    setTrouble(null)
    try {
      const made = await post<Plan>(`/v1/clusters/${name}/plans`, body)
      go('plans', made.digest)
    } catch (error) {
      setTrouble(error)
    }
    setBusy(false)
  }
  const bar = (
    <>
      <Action role="operator" kind="main" busy={busy} onClick={() => void plan({ verb: 'apply' })}>Plan</Action>
      <details class="more">
        <summary>More</summary>
        <Action role="operator" busy={busy} onClick={() => void plan({ verb: 'apply', 'allow-outage': true })}>Plan with outage allowed</Action>
        <Maintenance busy={busy} plan={(body) => void plan(body)} />
        <Action role="operator" busy={busy} onClick={() => void plan({ verb: 'disarm' })}>Plan to disarm alarms</Action>
        <Action role="operator" busy={busy} onClick={() => void plan({ verb: 'move-leader' })}>Plan another leader</Action>
        <Action role="operator" busy={busy} onClick={() => void plan({ verb: 'reset' })}>Plan a reset</Action>
      </details>
    </>
  )
  return (
    <Page title={name} bar={bar}>
      {busy && <p role="status">Looking at the hosts, to plan…</p>}
      {trouble !== null && <Trouble error={trouble} />}
      {cluster ? <Standing cluster={cluster} /> : clusters.value && <p>There is no cluster <strong>{name}</strong>. <a href={to('clusters')}>All clusters</a></p>}
      <nav class="tabs" aria-label="Of this cluster">
        {TABS.map(([key, text]) => (
          <a key={key} href={to('clusters', name, key)} aria-current={key === tab ? 'page' : undefined}>{text}</a>
        ))}
      </nav>
      {tab === 'topology' ? <Topology name={name} />
        : tab === 'checks' ? <Checks name={name} />
        : tab === 'certificates' ? <CertificateTable name={name} />
        : tab === 'hosts' ? <HostTable name={name} />
        : tab === 'drift' ? <Drift name={name} />
        : tab === 'snapshots' ? <SnapshotTable name={name} />
        : tab === 'history' ? <><Operations cluster={cluster?.cluster ?? name} /><Elsewhere name={name} /></>
        : <Members name={name} />}
    </Page>
  )
}

/** What is asked of maintenance beyond what is due. */
function Maintenance({ busy, plan }: { busy: boolean; plan: (body: object) => void }): JSX.Element {
  const [compact, setCompact] = useState(false)
  const [all, setAll] = useState(false)
  const [outage, setOutage] = useState(false)
  return (
    <fieldset class="choices">
      <legend>Maintenance</legend>
      <label><input type="checkbox" checked={compact} onChange={(event) => setCompact(event.currentTarget.checked)} /> Drop history</label>
      <label><input type="checkbox" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} /> Defragment every member</label>
      <label><input type="checkbox" checked={outage} onChange={(event) => setOutage(event.currentTarget.checked)} /> Allow an outage</label>
      <Action role="operator" busy={busy} onClick={() => plan({ verb: 'maintain', compact, all, 'allow-outage': outage })}>Plan maintenance</Action>
    </fieldset>
  )
}

const WORDS: Record<string, string> = { well: 'healthy', broken: 'unhealthy', attention: 'needs attention' }

function Standing({ cluster }: { cluster: Cluster }): JSX.Element {
  const reasons = cluster.summary?.reasons ?? []
  const operation = cluster.operation
  const old = stale(cluster)
  const kind = old && health(cluster) === 'well' ? 'unknown' : health(cluster)
  return (
    <section class="standing">
      <p><State kind={kind}><strong>{old ? 'no recent data' : WORDS[kind] ?? kind}</strong></State> {figures(cluster)}</p>
      {cluster.error && <p>{cluster.error}</p>}
      {reasons.length > 0 && <ul>{reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>}
      {operation && <p><State kind="running"><a href={to('operations', operation.id)}>{operation.verb} by {operation.who}</a></State></p>}
      <p class="quiet">
        {cluster['members-seen'] ? `as of ${moment(cluster['members-seen'])}` : 'not looked at yet'}
        {cluster['hosts-seen'] && `, hosts as of ${moment(cluster['hosts-seen'])}`}
      </p>
    </section>
  )
}

interface Aged<T> {
  body: T
  at: number
}

function Members({ name }: { name: string }): JSX.Element {
  const seen = clusters.value?.get(name)?.['members-seen']
  const load = async (signal: AbortSignal): Promise<Aged<Status>> => {
    const { body, headers } = await ask<Status>('GET', `/v1/clusters/${name}/members`, { signal })
    return { body, at: Date.now() - Number(headers.get('Age') ?? 0) * 1000 }
  }
  const { value: loaded, error, again } = useLoaded(load, [name, seen], 10_000)
  const series = useLoaded((signal) => get<{ points: Point[] }>(`/v1/clusters/${name}/series`, signal), [name, seen], 30_000)
  const [looking, setLooking] = useState(false)
  const [own, setOwn] = useState<Aged<Status> | null>(null)
  const look = async (): Promise<void> => {
    setLooking(true)
    try {
      const headers = { 'Cache-Control': 'no-cache' }
      setOwn({ body: (await ask<Status>('GET', `/v1/clusters/${name}/members`, { headers })).body, at: Date.now() })
    } catch {
      again()
    }
    setLooking(false)
  }
  if (error && !loaded) return <Trouble error={error} again={again} />
  // The newer of what was asked for by hand and what came by itself.
  const value = own && (!loaded || own.at > loaded.at) ? own : loaded
  if (!value) return <Loading what="members" />
  const most = Math.max(...value.body.members.map((one) => one.answer?.['raft-index'] ?? 0))
  const points = series.value?.points ?? []
  return (
    <>
      <table class="cards">
        <caption>{value.body.healthy} of {value.body.voters} voters are healthy, {value.body.quorum} are a quorum; as of {moment(value.at)}</caption>
        <thead>
          <tr><th scope="col">Member</th><th scope="col">Role</th><th scope="col">Version</th><th scope="col">Database</th><th scope="col">Raft lag (entries)</th><th scope="col">Read latency</th></tr>
        </thead>
        <tbody>{value.body.members.map((member) => <MemberRow key={member.name} member={member} most={most} />)}</tbody>
      </table>
      <button type="button" disabled={looking} onClick={() => void look()}>{looking ? 'Refreshing…' : 'Refresh'}</button>
      <div class="charts">
        <Chart title="Database, last hour" all={lines(points, (of, point) => point.members[of]?.['db-bytes'])} unit={bytes} />
        <Chart title="Raft lag, entries" all={lines(points, (of, point) => point.members[of]?.behind)} unit={String} />
        <Chart title="Read latency" all={lines(points, (of, point) => point.members[of]?.['read-ms'])} unit={(value) => `${value.toFixed(1)} ms`} />
      </div>
    </>
  )
}

async function getAged<T>(path: string, signal: AbortSignal): Promise<Aged<T>> {
  const { body, headers } = await ask<T>('GET', path, { signal })
  return { body, at: Date.now() - Number(headers.get('Age') ?? 0) * 1000 }
}

function HostTable({ name }: { name: string }): JSX.Element {
  const { value: aged, error, again } = useLoaded((signal) => getAged<Hosts>(`/v1/clusters/${name}/hosts`, signal), [name], 30_000)
  if (error && !aged) return <Trouble error={error} again={again} />
  if (!aged) return <Loading what="hosts" />
  return (
    <table class="cards">
      <caption>Hosts as of {moment(aged.at)}</caption>
      <thead><tr><th scope="col">Host</th><th scope="col">Runs</th><th scope="col">Unit</th><th scope="col">Free</th><th scope="col">Clock</th></tr></thead>
      <tbody>
        {aged.body.hosts.map((host) => (
          <tr key={host.name}>
            <th scope="row"><State kind={host.seen ? 'well' : 'unknown'}>{host.name}</State>{host.seen && <div class="quiet">{host.seen.hostname}, {host.seen.architecture}</div>}{host.why && <div class="quiet">{host.why}</div>}</th>
            <td data-label="Runs">{host.seen ? Object.entries(host.seen.runs).map(([member, exe]) => <div key={member}>{member} <span class="quiet">{exe}</span></div>) : '-'}</td>
            <td data-label="Unit">{host.seen ? Object.entries(host.seen.units).map(([unit, state]) => <div key={unit}>{unit}: {state}</div>) : '-'}</td>
            <td data-label="Free">{host.seen ? Object.entries(host.seen.free).map(([path, free]) => <div key={path}>{bytes(free)} <span class="quiet">{path}</span></div>) : '-'}</td>
            <td data-label="Clock">{host.seen ? `${(host.seen['clock-ahead-ms'] / 1000).toFixed(1)} s ahead` : '-'}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Drift({ name }: { name: string }): JSX.Element {
  const { value: aged, error, again } = useLoaded((signal) => getAged<Plan>(`/v1/clusters/${name}/drift`, signal), [name], 30_000)
  if (error && !aged) return <Trouble error={error} again={again} />
  if (!aged) return <Loading what="drift" />
  const plan = aged.body
  return (
    <section>
      <p class="quiet">What an apply would do, as of {moment(aged.at)}; Plan makes one that can be approved.</p>
      {plan.ending !== 'done' && <Findings findings={plan.findings as Finding[]} />}
      {plan.ending === 'done' && plan.stages.length === 0 && <p><State kind="well">No drift: the cluster is as its file says.</State></p>}
      <Stages stages={plan.stages} />
    </section>
  )
}

function MemberRow({ member, most }: { member: Member; most: number }): JSX.Element {
  const answer = member.answer
  // A learner serves nobody by itself, and one that is to join or was removed need not run.
  const waits = member.standing === 'learner' || member.standing === 'new' || member.standing === 'removed'
  const kind = member.health === 'healthy' ? 'well' : waits || member.health === 'unknown' ? 'unknown' : 'broken'
  const role = roleOf(member)
  const quota = answer?.['quota-bytes']
  return (
    <tr>
      <th scope="row"><State kind={kind}>{member.name}</State> <span class="quiet">{member.host}</span></th>
      <td data-label="Role">{member.health === 'healthy' || waits ? role : `${role}, ${member.health}`}{member.why && <div class="quiet">{member.why}</div>}</td>
      <td data-label="Version">{answer?.version ?? '-'}</td>
      <td data-label="Database">
        {answer ? (
          <>
            {bytes(answer['db-bytes'])}
            {quota ? <> <meter min={0} max={quota} high={quota * 0.8} value={answer['db-bytes']} aria-label={`of ${bytes(quota)}`} /> of {bytes(quota)}</> : null}
          </>
        ) : '-'}
      </td>
      <td data-label="Raft lag">{answer ? most - answer['applied-index'] : '-'}</td>
      <td data-label="Read latency">{answer?.['read-ms'] ? `${answer['read-ms']} ms` : '-'}</td>
    </tr>
  )
}

const WEIGHT = ['error', 'warning', 'pass']

function Checks({ name }: { name: string }): JSX.Element {
  const { value: aged, error, again } = useLoaded((signal) => getAged<Report>(`/v1/clusters/${name}/checks`, signal), [name])
  if (error) return <Trouble error={error} again={again} />
  if (!aged) return <Loading what="checks: the hosts are asked" />
  const value = aged.body
  const findings = [...value.findings].sort((a, b) => WEIGHT.indexOf(a.verdict) - WEIGHT.indexOf(b.verdict))
  const passed = findings.filter((found) => found.verdict === 'pass')
  const rest = findings.filter((found) => found.verdict !== 'pass')
  return (
    <section>
      <p><State kind={value.verdict}><strong>{value.verdict}</strong></State> {rest.length === 0 && 'every check passes'} <span class="quiet">as of {moment(aged.at)}</span></p>
      <Findings findings={rest} />
      <details><summary>{passed.length} passed</summary><Findings findings={passed} /></details>
      <button type="button" onClick={again}>Check again</button>
    </section>
  )
}

function CertificateTable({ name }: { name: string }): JSX.Element {
  const { value: aged, error, again } = useLoaded((signal) => getAged<Certificates>(`/v1/clusters/${name}/certificates`, signal), [name])
  if (error) return <Trouble error={error} again={again} />
  if (!aged) return <Loading what="certificates" />
  const value = aged.body
  if (value.certificates.length === 0) return <p>No certificate was seen.</p>
  const soon = 14 * 86_400_000
  return (
    <table class="cards">
      <caption>The first to end comes first; as of {moment(aged.at)}</caption>
      <thead><tr><th scope="col">Where</th><th scope="col">Name</th><th scope="col">Issued by</th><th scope="col">Ends</th></tr></thead>
      <tbody>
        {value.certificates.map((one) => {
          const left = Date.parse(one['not-after']) - now.value
          return (
            <tr key={one.on + one.file}>
              <th scope="row">{one.on}<div class="quiet">{one.file}</div></th>
              <td data-label="Name">{one.name}{one.ca && ' (CA)'}</td>
              <td data-label="Issued by">{one['of-another-ca'] ? <State kind="attention">{one.issuer}, another CA</State> : one.issuer}</td>
              <td data-label="Ends"><State kind={left < 0 ? 'broken' : left < soon ? 'attention' : 'well'}>{one['not-after'].slice(0, 10)}, {until(one['not-after'], now.value)}</State></td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

