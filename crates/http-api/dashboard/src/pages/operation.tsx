import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { get, post, type Event, type Finding, type Operation, type Plan } from '../api.ts'
import { addressOf, now } from '../live.ts'
import { Action, Findings, Loading, Page, State, Trouble, useLoaded } from '../parts.tsx'
import { go, to } from '../route.ts'
import { follow, type State as Stream } from '../stream.ts'
import { planAgain } from '../goals.ts'
import { bytes, moment, span } from '../words.ts'
import { legs, lineOf, standing, unfold } from '../events.ts'

/** Bytes on their way by host: how many came, of how many. */
type Moved = Record<string, [number, number]>

function left(figures: [number, number] | undefined): string {
  return figures && figures[0] < figures[1] ? `, ${bytes(figures[0])} of ${bytes(figures[1])}` : ''
}

export function OperationPage({ id }: { id: string }): JSX.Element {
  const [events, setEvents] = useState<Event[]>([])
  const [stream, setStream] = useState<Stream>('reconnecting')
  const [trouble, setTrouble] = useState<unknown>(null)
  const [moved, setMoved] = useState<Moved>({})
  const [stopping, setStopping] = useState(false)
  const ended = events.some((event) => ['done', 'failed', 'stopped'].includes(event.event))
  const { value, error, again } = useLoaded((signal) => get<Operation>(`/v1/operations/${id}`, signal), [id, ended])
  useEffect(() => {
    const stop = new AbortController()
    const each = (data: unknown): void => {
      if ('bytes' in (data as object)) {
        setMoved((data as { bytes: Moved }).bytes)
        return
      }
      const event = data as Event
      setEvents((known) => (known.some((one) => one.seq === event.seq) ? known : [...known, event]))
    }
    void follow(`/v1/operations/${id}/stream`, each, setStream, stop.signal)
    return () => stop.abort()
  }, [id])
  if (error && !value) return <Page title="Operation"><Trouble error={error} again={again} /></Page>
  if (!value) return <Page title="Operation"><Loading what="the operation" /></Page>
  const operation = value
  const view = unfold(events)
  const running = operation.state === 'running' && !operation.interrupted && !ended
  const state = view.end ?? (operation.interrupted ? 'unknown' : operation.state)
  const cancel = async (): Promise<void> => {
    setTrouble(null)
    setStopping(true)
    try {
      await post(`/v1/operations/${id}/cancel`, undefined)
    } catch (failed) {
      setStopping(false)
      setTrouble(failed)
    }
  }
  const plan = async (): Promise<void> => {
    try {
      const made = await post<Plan>(`/v1/clusters/${addressOf(operation.cluster)}/plans`, planAgain(operation))
      go('plans', made.digest)
    } catch (failed) {
      setTrouble(failed)
    }
  }
  const ways = legs(view)
  const stands = standing(view)
  const last = events.at(-1)
  const took = (last && !running ? Date.parse(last.at) : now.value) - Date.parse(operation.begun)
  const bar = running
    ? <Action role="operator" busy={stopping} onClick={() => void cancel()}>{stopping ? 'Stopping after this stage…' : 'Stop after this stage'}</Action>
    : <Action role="operator" onClick={() => void plan()}>Plan again</Action>
  return (
    <Page title={`${operation.verb} of ${operation.cluster}`} bar={bar}>
      <p>
        <State kind={state}><strong>{operation.interrupted ? 'interrupted: its process died' : state}</strong></State>{' '}
        {span(took)} · by {operation.who} · started {moment(operation.begun)}{operation.epoch > 1 && ` · resumed ${operation.epoch === 2 ? 'once' : `${operation.epoch - 1} times`}`} ·{' '}
        <a href={to('clusters', addressOf(operation.cluster))}>{operation.cluster}</a>
      </p>
      {stands && <p>{stands}</p>}
      {trouble !== null && <Trouble error={trouble} />}
      {running && view.waiting && <p><State kind="running">waiting: {view.waiting}</State></p>}
      {!running && operation.message && !view.failure && <p>{operation.message}</p>}
      {operation.interrupted && <p>Plan again shows what is left to do.</p>}
      <p class="sr" role="status" aria-live="polite">{view.said}</p>
      {view.failure && (
        <section class="trouble" role="alert">
          <p><State kind="failed"><strong>{view.failure.message}</strong></State></p>
          <Findings findings={view.failure.findings as Finding[]} />
        </section>
      )}
      {view.stages.length > 0 ? (
        <table class="cards">
          <caption>Stages</caption>
          <thead><tr><th scope="col">Stage</th><th scope="col">Took</th><th scope="col">Hosts</th></tr></thead>
          <tbody>
            {view.stages.map((stage, index) => [
              ...ways.filter((leg) => leg.first === index).map((leg) => (
                <tr key={`leg ${index}`} class="leg"><th scope="colgroup" colSpan={3}><State kind={leg.state}>Leg {ways.indexOf(leg) + 1} of {ways.length}: {leg.name}</State></th></tr>
              )),
              <tr key={index}>
                <th scope="row"><State kind={stage.state}>{index + 1}. {stage.title}</State></th>
                <td data-label="Took">{stage.took !== null ? span(stage.took) : stage.since !== null ? span(now.value - stage.since) : ''}</td>
                <td data-label="Hosts">
                  {stage.waits && <div class="quiet">waits: {stage.waits}</div>}
                  {[...stage.hosts].map(([host, how]) => <div key={host}><State kind={how.state === 'working' ? 'running' : how.state}>{host}</State> <span class="quiet">{how.what}{running && how.state === 'working' && left(moved[host])}</span></div>)}
                </td>
              </tr>,
            ])}
          </tbody>
        </table>
      ) : running && !view.waiting ? <Loading what="the stages" /> : null}
      <details>
        <summary>Events ({events.length})</summary>
        <ol class="events">{events.map((event) => <li key={event.seq}><time>{moment(event.at)}</time> {lineOf(event)}</li>)}</ol>
      </details>
      <p class="quiet">{ended ? '○ ended' : stream === 'live' ? '● live' : stream === 'ended' ? '○ ended' : '○ reconnecting'}</p>
    </Page>
  )
}
