import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { get, type History, type Operation } from '../api.ts'
import { addressOf, clusters } from '../live.ts'
import { Loading, Page, State, Trouble, useLoaded } from '../parts.tsx'
import { to } from '../route.ts'
import { moment, span } from '../words.ts'

interface Listed {
  operations: Operation[]
  next?: string | null
}

/** Operations, those of one cluster or all, the newest first. */
export function Operations({ cluster, state }: { cluster?: string; state?: string }): JSX.Element {
  const [cursor, setCursor] = useState<string[]>([])
  const of = (cluster ? `&cluster=${encodeURIComponent(cluster)}` : '') + (state ? `&state=${state}` : '')
  const from = cursor.at(-1) ? `&cursor=${cursor.at(-1)}` : ''
  const { value, error, again } = useLoaded((signal) => get<Listed>(`/v1/operations?limit=50${of}${from}`, signal), [cluster, state, from], 10_000)
  if (error && !value) return <Trouble error={error} again={again} />
  if (!value) return <Loading what="operations" />
  if (value.operations.length === 0) return <p>Nothing was done yet.</p>
  return (
    <>
      <table class="cards">
        <caption>The newest first, whoever carried them out</caption>
        <thead><tr><th scope="col">Operation</th><th scope="col">Cluster</th><th scope="col">Who</th><th scope="col">Begun</th><th scope="col">Took</th><th scope="col">Why it ended</th></tr></thead>
        <tbody>
          {value.operations.map((one) => (
            <tr key={one.id}>
              <th scope="row"><State kind={one.interrupted ? 'unknown' : one.state}><a href={to('operations', one.id)}>{one.verb}, {one.interrupted ? 'interrupted' : one.state}</a></State></th>
              <td data-label="Cluster"><a href={to('clusters', addressOf(one.cluster))}>{one.cluster}</a></td>
              <td data-label="Who">{one.who}</td>
              <td data-label="Begun">{moment(one.begun)}</td>
              <td data-label="Took">{one.ended ? span(Date.parse(one.ended) - Date.parse(one.begun)) : ''}</td>
              <td data-label="Why">{one.message ?? ''}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <div class="actions">
        {cursor.length > 0 && <button type="button" onClick={() => setCursor(cursor.slice(0, -1))}>Newer</button>}
        {value.next && <button type="button" onClick={() => setCursor([...cursor, value.next ?? ''])}>Older</button>}
      </div>
    </>
  )
}

export function OperationsPage(): JSX.Element {
  const [cluster, setCluster] = useState('')
  const [state, setState] = useState('')
  const names = [...new Set([...(clusters.value?.values() ?? [])].map((one) => one.cluster ?? one.name))].sort()
  return (
    <Page title="History">
      <label>
        Cluster{' '}
        <select value={cluster} onChange={(event) => setCluster(event.currentTarget.value)}>
          <option value="">all</option>
          {names.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <label>
        State{' '}
        <select value={state} onChange={(event) => setState(event.currentTarget.value)}>
          <option value="">all</option>
          {['running', 'interrupted', 'done', 'failed', 'stopped'].map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      </label>
      <Operations key={cluster + state} {...(cluster ? { cluster } : {})} {...(state ? { state } : {})} />
    </Page>
  )
}

const ends: Record<string, [string, string]> = {
  done: ['done', 'done'],
  failed: ['failed', 'failed'],
  stopped: ['stopped', 'stopped'],
  unknown: ['unknown', 'no end noted'],
}

/** What others did from elsewhere, as the logs on the hosts have it. */
export function Elsewhere({ name }: { name: string }): JSX.Element {
  const { value, error, again } = useLoaded((signal) => get<History>(`/v1/clusters/${name}/history`, signal), [name])
  if (error && !value) return <Trouble error={error} again={again} />
  if (!value) return <Loading what="the logs on the hosts" />
  const others = value.operations.filter((one) => !one.events)
  return (
    <section>
      <h2>From elsewhere</h2>
      {value.unseen?.map((one) => <p key={one.host}><State kind="unknown">{one.host}: its log was not read: {one.why}</State></p>)}
      {others.length === 0 ? <p>The hosts know of nothing that was carried out from elsewhere.</p> : (
        <table class="cards">
          <caption>As the hosts noted it: only a summary</caption>
          <thead><tr><th scope="col">Operation</th><th scope="col">Who</th><th scope="col">Begun</th><th scope="col">Took</th><th scope="col">Stages</th></tr></thead>
          <tbody>
            {others.map((one) => {
              const [kind, words] = ends[one.state] ?? ['unknown', one.state]
              return (
                <tr key={one.id}>
                  <th scope="row"><State kind={kind}>{one.verb}, {words}</State></th>
                  <td data-label="Who">{one.who}</td>
                  <td data-label="Begun">{moment(one.begun)}</td>
                  <td data-label="Took">{one.ended ? span(Date.parse(one.ended) - Date.parse(one.begun)) : ''}</td>
                  <td data-label="Stages">{one.stages?.join(', ')}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      )}
    </section>
  )
}
