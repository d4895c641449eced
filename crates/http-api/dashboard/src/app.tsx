// The frame of every page: the bar, who is signed in, and which page it is.

import { useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { may, offline, session, signIn } from './api.ts'
import { clusters, health, now, sorted } from './live.ts'
import { AddPage } from './pages/add.tsx'
import { AuditPage } from './pages/audit.tsx'
import { ClusterPage } from './pages/cluster.tsx'
import { ClustersPage } from './pages/clusters.tsx'
import { ExplainPage } from './pages/explain.tsx'
import { OperationPage } from './pages/operation.tsx'
import { OperationsPage } from './pages/operations.tsx'
import { PlanPage } from './pages/plan.tsx'
import { SignIn } from './pages/signin.tsx'
import { TokensPage } from './pages/tokens.tsx'
import { go, route, to } from './route.ts'
import { count, moment, span } from './words.ts'

function page(path: string[]): JSX.Element {
  const [first, second, third] = path
  switch (first) {
    case undefined:
    case 'clusters':
      return second ? <ClusterPage key={second} name={second} tab={third ?? 'members'} /> : <ClustersPage />
    case 'add':
      return <AddPage />
    case 'plans':
      return <PlanPage key={second} digest={second ?? ''} />
    case 'operations':
      return second ? <OperationPage key={second} id={second} /> : <OperationsPage />
    case 'audit':
      return <AuditPage />
    case 'tokens':
      return <TokensPage />
    case 'explain':
      return <ExplainPage key={second} id={second ?? ''} />
    default:
      return <main id="main"><h1>There is no such page</h1><p><a href={to('clusters')}>Clusters</a></p></main>
  }
}

const WARN_BEFORE = 10 * 60_000

function Bar(): JSX.Element {
  const current = session.value
  const running = sorted.value.filter((one) => one.operation).length
  const needing = sorted.value.filter((one) => ['broken', 'attention'].includes(health(one))).length
  const left = current?.ends ? Date.parse(current.ends) - now.value : null
  const here = route.value.path[0] ?? 'clusters'
  const link = (name: string, text: string): JSX.Element => (
    <a href={to(name)} aria-current={here === name ? 'page' : undefined}>{text}</a>
  )
  return (
    <header>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault()
        document.querySelector<HTMLElement>('h1')?.focus()
      }}>To the page</a>
      <nav aria-label="Pages">
        <a class="brand" href={to('clusters')}>etcdup</a>
        {link('clusters', 'Clusters')}
        {link('operations', 'History')}
        {may('admin') && link('audit', 'Audit')}
        {may('admin') && link('tokens', 'Tokens')}
      </nav>
      <div class="now">
        {running > 0 && <span>{running} running</span>}
        {needing > 0 && <span>{needing} need attention</span>}
        {current && (
          <span>
            {current.name} ({current.role}{left !== null && <>, {span(left)} left</>}){' '}
            <button type="button" class="plain" onClick={() => signIn(null)}>Sign out</button>
          </span>
        )}
      </div>
      {left !== null && left < WARN_BEFORE && (
        <p class="strip">Your sign-in ends in {span(left)}.</p>
      )}
      {offline.value !== null && (
        <p class="strip" role="status">Offline since {moment(offline.value)}, reconnecting. What you see is as it was then.</p>
      )}
    </header>
  )
}

/** One key for what is done most. */
function useKeys(help: () => void): void {
  const before = useRef('')
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const into = event.target as HTMLElement
      if (event.ctrlKey || event.metaKey || event.altKey || ['INPUT', 'TEXTAREA', 'SELECT'].includes(into.tagName)) return
      if (event.key === '/') {
        event.preventDefault()
        go('clusters')
        setTimeout(() => document.getElementById('search')?.focus(), 50)
      } else if (event.key === '?') help()
      else if (before.current === 'g' && event.key === 'c') go('clusters')
      else if (before.current === 'g' && event.key === 'o') go('operations')
      before.current = event.key
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}

function Keys({ onClose }: { onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="keys-title">
      <h2 id="keys-title">Keys</h2>
      <dl>
        <dt><kbd>/</kbd></dt><dd>search clusters</dd>
        <dt><kbd>g</kbd> <kbd>c</kbd></dt><dd>clusters</dd>
        <dt><kbd>g</kbd> <kbd>o</kbd></dt><dd>history</dd>
        <dt><kbd>?</kbd></dt><dd>this list</dd>
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>Close</button>
    </dialog>
  )
}

export function App(): JSX.Element {
  const help = useSignal(false)
  useKeys(() => (help.value = true))
  const known = session.value !== null
  return (
    <>
      <Bar />
      {known ? page(route.value.path) : <SignIn />}
      {help.value && <Keys onClose={() => (help.value = false)} />}
      <footer class="quiet">
        {clusters.value ? count(clusters.value.size, 'cluster') : ''} <a href="./openapi.json">API</a>
      </footer>
    </>
  )
}

