// What an operation or a plan is for: the request that asks for the same once more, and what is lost by it.

import type { Operation, Plan } from './api.ts'

/** The name of a snapshot, by its file's. */
function snapshotOf(path: string): string {
  const file = path.split('/').at(-1) ?? path
  return file.replace(/\.(db|enc)$/, '')
}

/** The cluster ID that was typed, where one was. */
function idOf(id?: string | null): object {
  return id ? { 'cluster-id': id } : {}
}

/** The request for a plan of the same as an operation was for. */
export function planAgain(of: Operation): object {
  switch (of.goal) {
    case 'converge': return { verb: 'apply', 'allow-outage': of['allow-outage'], retry: of.retry ?? false }
    case 'reset': return { verb: 'reset', wipe: of.wipe, ...idOf(of['cluster-id']) }
    case 'maintain': return { verb: 'maintain', compact: of.compact ?? false, all: of.all ?? false, 'allow-outage': of['allow-outage'] }
    case 'restore': return { verb: 'restore', snapshot: snapshotOf(of.order.path), 'no-bump-revision': !of.order.bump, again: of.order.again ?? false, ...idOf(of.order['cluster-id']) }
    case 'abort-restore': return { verb: 'abort-restore' }
    case 'recover': return { verb: 'recover', gone: of.gone, ...idOf(of['cluster-id']) }
    case 'move-leader': return { verb: 'move-leader', ...(of.to ? { to: of.to } : {}) }
    case 'disarm': return { verb: 'disarm' }
  }
}

/** The stages that say in figures what is lost, where they are still to come. */
const SAYING = /^(begin-restore|begin-recover|choose)\b/

/** What is lost for good by a restore or a recovery, also by one that goes on. */
export function lossOf(plan: Plan): string[] {
  if (plan.goal !== 'restore' && plan.goal !== 'recover') return []
  const figures = plan.stages.find((stage) => SAYING.test(stage.key))
  if (figures) return figures.why
  if (plan.goal === 'recover') {
    return [`what only other members had is lost${plan.gone.length > 0 ? `; gone: ${plan.gone.join(', ')}` : ''}`]
  }
  const known = plan.order.known
  const upTo = known ? `it was at ${known.taken}, at revision ${known.revision} or a little later` : `${snapshotOf(plan.order.path)} holds`
  return [`the cluster becomes what ${upTo}: whatever was written since is lost`]
}
