// What the page knows of all clusters, kept up to date while anybody is signed in.

import { computed, signal } from '@preact/signals'
import { get, offline, session, type Cluster, type ClusterChange } from './api.ts'
import { follow, type State } from './stream.ts'

/** The clusters by name; null before the first answer. */
export const clusters = signal<ReadonlyMap<string, Cluster> | null>(null)

/** How the stream of changes stands. */
export const stream = signal<State>('reconnecting')

/** Why the list cannot be had, where the server says so. */
export const refused = signal<unknown>(null)

/** The time, every second. */
export const now = signal(Date.now())
setInterval(() => (now.value = Date.now()), 1000)

const REFRESH = 10_000
const ORDER = ['broken', 'attention', 'unknown', 'well']

/** Where a cluster belongs among others: the worst comes first. */
export function health(cluster: Cluster): string {
  return cluster.error ? 'broken' : (cluster.summary?.health ?? 'unknown')
}

export const sorted = computed<Cluster[]>(() => {
  const all = [...(clusters.value?.values() ?? [])]
  const rank = (cluster: Cluster): number => ORDER.indexOf(health(cluster))
  return all.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
})

/** What a cluster is called in addresses, by the name that plans and operations have for it. */
export function addressOf(cluster: string): string {
  const all = [...(clusters.value?.values() ?? [])]
  return all.find((one) => one.cluster === cluster)?.name ?? cluster
}

/** Whether what is shown of a cluster is too old to be believed. */
export function stale(cluster: Cluster): boolean {
  const seen = cluster['members-seen']
  return offline.value !== null || (!!seen && now.value - Date.parse(seen) > 90_000)
}

function take(change: ClusterChange): void {
  const next = new Map(clusters.value ?? [])
  if (change.cluster) next.set(change.name, change.cluster)
  else next.delete(change.name)
  clusters.value = next
}

async function refresh(): Promise<void> {
  if (!session.value || document.hidden) return
  try {
    const list = await get<{ clusters: Cluster[] }>('/v1/clusters')
    clusters.value = new Map(list.clusters.map((one) => [one.name, one]))
    refused.value = null
  } catch (error) {
    // Where the server is not reached the bar says so; what is known stays, with its age.
    refused.value = error
  }
}

let following: AbortController | null = null

/** Begins and ends with the session. */
session.subscribe((current) => {
  following?.abort()
  following = null
  if (!current) {
    clusters.value = null
    return
  }
  following = new AbortController()
  void refresh()
  const each = (data: unknown): void => take(data as ClusterChange)
  void follow('/v1/stream', each, (state) => (stream.value = state), following.signal)
})
setInterval(() => void refresh(), REFRESH)
document.addEventListener('visibilitychange', () => void refresh())
