import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { may, offline, type Cluster } from '../api.ts'
import { clusters, health, now, refused, sorted, stale } from '../live.ts'
import { Loading, Page, State, Trouble } from '../parts.tsx'
import { to } from '../route.ts'
import { ago, bytes, count, until } from '../words.ts'

const HEADINGS: [string, (cluster: Cluster) => boolean][] = [
  ['Needs attention', (cluster) => ['broken', 'attention'].includes(health(cluster)) && (!cluster.operation || health(cluster) === 'broken')],
  ['Working', (cluster) => !!cluster.operation && health(cluster) !== 'broken'],
  ['Unknown', (cluster) => !cluster.operation && kindOf(cluster) === 'unknown'],
  ['Healthy', (cluster) => !cluster.operation && kindOf(cluster) === 'well'],
]

/** How a cluster is, as far as that is known by now. */
function kindOf(cluster: Cluster): string {
  return stale(cluster) && health(cluster) === 'well' ? 'unknown' : health(cluster)
}

/** What is to be said of a cluster in one line. */
export function line(cluster: Cluster): string {
  if (cluster.error) return cluster.error
  const summary = cluster.summary
  if (!summary) return 'not looked at yet'
  const [first, ...more] = summary.reasons
  if (first) return more.length > 0 ? `${first} (and ${more.length} more)` : first
  return figures(cluster)
}

/** The figures of a cluster in one line. */
export function figures(cluster: Cluster): string {
  const summary = cluster.summary
  if (!summary || summary.voters === 0) return ''
  const parts = [`${summary.healthy} of ${summary.voters}`]
  if (summary.leader) parts.push(`leader ${summary.leader}`)
  if (summary['db-bytes']) {
    const quota = summary['quota-bytes']
    parts.push(bytes(summary['db-bytes']) + (quota ? ` of ${bytes(quota)}` : ''))
  }
  const ends = summary['certificate-ends']
  if (ends) parts.push(`certificates end ${until(ends, now.value)}`)
  return parts.join(', ')
}

function Row({ cluster }: { cluster: Cluster }): JSX.Element {
  const old = stale(cluster)
  const kind = cluster.operation && health(cluster) !== 'broken' ? 'running' : kindOf(cluster)
  const seen = cluster['members-seen']
  return (
    <tr>
      <th scope="row">
        <State kind={kind}><a href={to('clusters', cluster.name)}>{cluster.name}</a></State>
      </th>
      <td>
        {cluster.operation && (
          <a href={to('operations', cluster.operation.id)}>
            {cluster.operation.verb} by {cluster.operation.who}, started {ago(cluster.operation.begun, now.value)}
          </a>
        )}
        {cluster.operation && kind === 'running' ? null : <div>{line(cluster)}</div>}
      </td>
      <td data-label="etcd">{cluster.summary?.version ?? cluster.etcd ?? ''}</td>
      <td data-label="Seen">{seen ? (old ? `last seen ${ago(seen, now.value)}` : ago(seen, now.value)) : ''}</td>
    </tr>
  )
}

export function ClustersPage(): JSX.Element {
  const [search, setSearch] = useState('')
  const wanted = search.trim().toLowerCase()
  const all = sorted.value.filter((cluster) => !wanted || `${cluster.name} ${line(cluster)}`.toLowerCase().includes(wanted))
  const groups = HEADINGS.map(([heading, belongs]) => ({ heading, found: all.filter(belongs) }))
  const add = may('operator') ? <a class="button" href={to('add')}>Add a cluster</a> : undefined
  return (
    <Page title="Clusters" bar={add}>
      {refused.value !== null && offline.value === null && <Trouble error={refused.value} />}
      {clusters.value === null ? <Loading what="clusters" /> : clusters.value.size === 0 ? (
        <section class="empty">
          <p>There is no cluster yet. <a href={to('add')}>Add a topology, or adopt a cluster that runs.</a></p>
          <p class="quiet">In a terminal: <code>etcdup init --target root@10.0.1.10</code> writes a topology, <code>etcdup adopt</code> reads one from hosts.</p>
        </section>
      ) : (
        <>
          <label class="search">
            Search <input id="search" type="search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
          </label>
          <p class="quiet" role="status">{wanted ? count(all.length, 'cluster') : ''}</p>
          {groups.filter(({ found }) => found.length > 0).map(({ heading, found }) => (
            <table key={heading} class="cards">
              <caption>{heading}</caption>
              <thead><tr><th scope="col">Cluster</th><th scope="col">State</th><th scope="col">etcd</th><th scope="col">Seen</th></tr></thead>
              <tbody>{found.map((cluster) => <Row key={cluster.name} cluster={cluster} />)}</tbody>
            </table>
          ))}
        </>
      )}
    </Page>
  )
}
