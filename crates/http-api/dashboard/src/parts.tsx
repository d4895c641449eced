// What several pages are made of.

import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { may, offline, Refused, session, type Finding, type Problem, type Role } from './api.ts'
import { to } from './route.ts'

/** A state in a sign and a word: never by colour alone. */
export function State({ kind: known, children }: { kind: string; children: ComponentChildren }): JSX.Element {
  // Nothing is green that may have changed since.
  const kind = offline.value !== null && ['well', 'pass'].includes(known) ? 'unknown' : known
  const sign = SIGNS[kind] ?? '·'
  return (
    <span class={`state ${kind}`}>
      <span aria-hidden="true">{sign}</span> {children}
    </span>
  )
}

const SIGNS: Record<string, string> = {
  well: '✓',
  done: '✓',
  pass: '✓',
  attention: '!',
  warning: '!',
  broken: '✗',
  failed: '✗',
  error: '✗',
  unknown: '?',
  running: '▸',
  stopped: '■',
  next: '·',
}

/** A page: its heading gets the focus, so that a reader begins there. */
export function Page({ title, bar, children }: {
  title: string
  bar?: ComponentChildren
  children: ComponentChildren
}): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} - etcdup`
    heading.current?.focus()
  }, [title])
  return (
    <main id="main">
      <div class="head">
        <h1 ref={heading} tabIndex={-1}>{title}</h1>
        <div class="actions">{bar}</div>
      </div>
      {children}
    </main>
  )
}

/** What went wrong; it stays until something else happens. */
export function Trouble({ error, again }: { error: unknown; again?: () => void }): JSX.Element {
  const problem: Problem | null = error instanceof Refused ? error.problem : null
  const id = problem?.type.replace('urn:etcdup:', '')
  return (
    <section class="trouble" role="alert">
      <p><State kind="error"><strong>{problem?.title ?? 'something failed'}</strong></State></p>
      <p>{problem?.line ? `line ${problem.line}, column ${problem.column ?? 1}: ` : ''}{problem?.detail ?? String(error)}</p>
      {problem?.advice && <p class="quiet">{problem.advice}</p>}
      {problem?.status === 403 && <p>You are signed in as {session.value?.name}, {session.value?.role}.</p>}
      <Findings findings={(problem?.findings ?? []) as Finding[]} />
      {id && id !== 'offline' && <p><a href={to('explain', id)}>What to do ({id})</a></p>}
      {problem?.request && <p class="quiet">request {problem.request}</p>}
      {again && <button type="button" onClick={again}>Try again</button>}
    </section>
  )
}

export function Findings({ findings }: { findings: Finding[] }): JSX.Element | null {
  if (findings.length === 0) return null
  return (
    <ul class="findings">
      {findings.map((found, index) => (
        <li key={index}>
          <State kind={found.verdict}>{found.verdict}</State>{' '}
          {found.line ? <>line {found.line}: </> : null}
          <strong>{found.subject}</strong>: {found.evidence}
          {found.advice ? <div class="quiet">{found.advice}</div> : null}
          <div class="quiet"><a href={to('explain', found.id)}>{found.id}</a></div>
        </li>
      ))}
    </ul>
  )
}

/** What is loaded: nothing for a moment, then that it takes its time. */
export function Loading({ what }: { what: string }): JSX.Element {
  const [late, setLate] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 300)
    return () => clearTimeout(timer)
  }, [])
  return <p class="loading" role="status">{late ? `Loading ${what}…` : ' '}</p>
}

/** A button that needs a role: a viewer sees it, and why it does nothing. */
export function Action({ role, busy, children, onClick, kind }: {
  role: Role
  busy?: boolean
  children: ComponentChildren
  onClick: () => void
  kind?: 'danger' | 'main'
}): JSX.Element {
  const allowed = may(role)
  return (
    <button
      type="button"
      class={kind}
      disabled={!allowed || busy}
      title={allowed ? undefined : `this needs the role ${role}`}
      onClick={onClick}
    >
      {children}
      {!allowed && <span class="quiet"> (needs {role})</span>}
    </button>
  )
}

/** Loads something, and loads it again when asked, or every so often. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[], every?: number): {
  value: T | null
  error: unknown
  again: () => void
} {
  const [value, setValue] = useState<T | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [round, setRound] = useState(0)
  useEffect(() => {
    setValue(null)
    setError(null)
  }, keys)
  useEffect(() => {
    const stop = new AbortController()
    load(stop.signal).then(
      (loaded) => {
        if (stop.signal.aborted) return
        setValue(loaded)
        setError(null)
      },
      (failed: unknown) => {
        if (stop.signal.aborted) return
        setError(failed)
        // Nobody presses a button for a connection that comes back by itself.
        if (failed instanceof Refused && failed.problem.status === 0) timer = setTimeout(once, 2000)
      },
    )
    const once = (): void => setRound((at) => at + 1)
    let timer = every ? setTimeout(once, every) : undefined
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [...keys, round, session.value?.secret])
  return { value, error, again: () => setRound((at) => at + 1) }
}

/** Asks for the cluster's name before what cannot be taken back. */
export function Confirm({ cluster, what, loss, onDone, onClose }: {
  cluster: string
  what: string
  loss: ComponentChildren
  onDone: () => void
  onClose: () => void
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const [typed, setTyped] = useState('')
  useEffect(() => dialog.current?.showModal(), [])
  const right = typed === cluster
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    if (right) onDone()
  }
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="confirm-title">
      <form onSubmit={submit}>
        <h2 id="confirm-title">{what}</h2>
        {loss}
        <label>
          Type <strong>{cluster}</strong> to go on
          <input value={typed} onInput={(event) => setTyped(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
        </label>
        <div class="actions">
          <button type="submit" class="danger" disabled={!right}>{what}</button>
          <button type="button" onClick={onClose}>Cancel</button>
        </div>
      </form>
    </dialog>
  )
}
