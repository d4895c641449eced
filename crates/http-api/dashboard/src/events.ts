// From the events of an operation to what the page shows of it.

import type { Event } from './api.ts'

export interface StageView {
  title: string
  /** What its leg brings the cluster to; empty in a plan of one leg. */
  leg: string
  state: 'next' | 'running' | 'done' | 'failed' | 'stopped'
  since: number | null
  took: number | null
  /** What is waited for; empty where nothing is. */
  waits: string
  hosts: Map<string, { what: string; state: string }>
}

export interface View {
  stages: StageView[]
  end: 'done' | 'failed' | 'stopped' | null
  failure: { message: string; findings: unknown[] } | null
  /** What is waited for before the first stage; empty where nothing is. */
  waiting: string
  /** The last thing that a person wants to hear: of stages, not of lines. */
  said: string
}

/** The whole view from all events so far, in any order of arrival. */
export function unfold(events: Event[]): View {
  const view: View = { stages: [], end: null, failure: null, waiting: '', said: '' }
  let at = -1
  const ordered = [...events].sort((a, b) => a.seq - b.seq)
  for (const event of ordered) {
    const stage = view.stages[at]
    switch (event.event) {
      case 'started':
        view.stages = event.stages.map((planned) => fresh(planned.title, planned.leg))
        break
      case 'waiting':
        view.waiting = event.holder
        view.said = `waiting: ${event.holder}`
        break
      case 'resumed':
        view.said = 'resumed after its process ended'
        break
      case 'stage-started':
        at = event.index
        view.waiting = ''
        // A plan that was taken over names only what is left of it.
        while (view.stages.length <= at) view.stages.push(fresh(event.title, view.stages.at(-1)?.leg))
        view.stages[at] = { ...fresh(event.title, view.stages[at]?.leg), state: 'running', since: Date.parse(event.at) }
        view.said = `stage ${at + 1} of ${view.stages.length}, ${event.title}, begun`
        break
      case 'host':
        stage?.hosts.set(event.host, { what: event.what, state: event.state })
        break
      case 'gate':
        if (stage) stage.waits = event.why === '' ? '' : `${event.holds}: ${event.why}`
        break
      case 'stage-done':
        if (stage) {
          stage.state = 'done'
          stage.took = event.elapsed_ms
          stage.waits = ''
        }
        view.said = `stage ${event.index + 1} of ${view.stages.length} done`
        break
      case 'done':
        view.end = 'done'
        view.said = 'done'
        break
      case 'failed':
        view.end = 'failed'
        view.failure = { message: event.message, findings: event.findings }
        view.said = `failed: ${event.message}`
        if (stage?.state === 'running') stage.state = 'failed'
        break
      case 'stopped':
        view.end = 'stopped'
        view.said = event.message
        if (stage?.state === 'running') stage.state = 'stopped'
        break
    }
  }
  return view
}

function fresh(title: string, leg: string | null | undefined): StageView {
  return { title, leg: leg ?? '', state: 'next', since: null, took: null, waits: '', hosts: new Map() }
}

export interface LegView {
  name: string
  /** The index of its first stage. */
  first: number
  /** Whether the cluster is there. */
  state: 'done' | 'running' | 'next'
}

/** The legs of a plan, and which of them the cluster has reached; nothing where there is one. */
export function legs(view: View): LegView[] {
  const found: LegView[] = []
  view.stages.forEach((stage, at) => {
    if (stage.leg !== '' && stage.leg !== view.stages[at - 1]?.leg) found.push({ name: stage.leg, first: at, state: 'next' })
  })
  found.forEach((leg, at) => {
    const own = view.stages.slice(leg.first, found[at + 1]?.first)
    if (own.every((stage) => stage.state === 'done')) leg.state = 'done'
    else if (own.some((stage) => stage.state !== 'next')) leg.state = 'running'
  })
  return found
}

/** Where the cluster stands between the legs; empty in a plan of one. */
export function standing(view: View): string {
  const all = legs(view)
  const reached = all.filter((leg) => leg.state === 'done').at(-1)
  const ahead = all.find((leg) => leg.state !== 'done')
  if (!ahead) return reached ? `reached: ${reached.name}` : ''
  const way = `leg ${all.indexOf(ahead) + 1} of ${all.length}, to ${ahead.name}`
  return reached ? `${way}; reached: ${reached.name}` : way
}

/** An event in a line. */
export function lineOf(event: Event): string {
  switch (event.event) {
    case 'started':
      return `begun, ${event.stages.length} stages`
    case 'resumed':
      return `resumed by ${event.who}`
    case 'waiting':
      return event.holder
    case 'stage-started':
      return `stage ${event.index + 1}: ${event.title}`
    case 'host':
      return `${event.host}: ${event.what} (${event.state})`
    case 'gate':
      return event.why === '' ? `holds: ${event.holds}` : `waits: ${event.holds}: ${event.why}`
    case 'stage-done':
      return `stage ${event.index + 1} done in ${event.elapsed_ms} ms`
    case 'done':
      return `done in ${event.elapsed_ms} ms`
    case 'failed':
      return `failed: ${event.message}`
    case 'stopped':
      return event.message
  }
}
