import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { may, type Cluster } from '../api.ts'
import { clusters, health, now, sorted, stale } from '../live.ts'
import { Loading, Page, State } from '../parts.tsx'
import { to } from '../route.ts'
import { ago, bytes, count, until } from '../words.ts'

const HEADINGS: [string, (cluster: Cluster) => boolean][] = [
  ['Need you', (cluster) => !cluster.operation && ['broken', 'attention'].includes(health(cluster))],
  ['Working', (cluster) => !!cluster.operation],
  ['Unknown', (cluster) => !cluster.operation && health(cluster) === 'unknown'],
  ['Well', (cluster) => !cluster.operation && health(cluster) === 'well'],
]

/** What is to be said of a cluster in one line. */
export function line(cluster: Cluster): string {
  if (cluster.error) return cluster.error
  const summary = cluster.summary
  if (!summary) return 'not looked at yet'
  const [first, ...more] = summary.reasons
  if (first) return more.length > 0 ? `${first} (and ${more.length} more)` : first
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
  const kind = cluster.operation ? 'running' : old && health(cluster) === 'well' ? 'unknown' : health(cluster)
  const seen = cluster['members-seen']
  return (
    <tr>
      <th scope="row">
        <State kind={kind}><a href={to('clusters', cluster.name)}>{cluster.name}</a></State>
      </th>
      <td>
        {cluster.operation ? (
          <a href={to('operations', cluster.operation.id)}>
            {cluster.operation.verb} since {ago(cluster.operation.begun, now.value)} by {cluster.operation.who}
          </a>
        ) : line(cluster)}
      </td>
      <td>{cluster.summary?.version ?? cluster.etcd ?? ''}</td>
      <td>{seen ? (old ? `not seen since ${ago(seen, now.value)}` : ago(seen, now.value)) : ''}</td>
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
            <table key={heading}>
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
