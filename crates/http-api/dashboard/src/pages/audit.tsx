import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { get, type AuditEntry } from '../api.ts'
import { Loading, Page, State, Trouble, useLoaded } from '../parts.tsx'
import { to } from '../route.ts'
import { moment } from '../words.ts'

/** What was made: an operation and a plan are pages of their own. */
function Made({ path }: { path: string }): JSX.Element {
  const [, kind, id] = /^\/v1\/(operations|plans)\/([^/]+)$/.exec(path) ?? []
  return kind && id ? <a href={to(kind, id)}>{path}</a> : <>{path}</>
}

export function AuditPage(): JSX.Element {
  const [cursor, setCursor] = useState<string[]>([])
  const [search, setSearch] = useState('')
  const from = cursor.at(-1) ? `&cursor=${cursor.at(-1)}` : ''
  const { value, error, again } = useLoaded((signal) => get<AuditEntry[]>(`/v1/audit?limit=100${from}`, signal), [from])
  const wanted = search.trim().toLowerCase()
  const found = (value ?? []).filter((one) => !wanted || JSON.stringify(one).toLowerCase().includes(wanted))
  return (
    <Page title="Audit" bar={<button type="button" onClick={again}>Load again</button>}>
      <label class="search">Search this page <input type="search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label>
      {error ? <Trouble error={error} again={again} /> : !value ? <Loading what="the audit trail" /> : found.length === 0 ? <p>Nothing matches.</p> : (
        <table class="cards">
          <caption>Who changed what, and what was refused</caption>
          <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">From</th><th scope="col">What</th><th scope="col">Answer</th></tr></thead>
          <tbody>
            {found.map((one) => (
              <tr key={one.request}>
                <th scope="row">{moment(one.at)}</th>
                <td data-label="Who">{one.who ?? 'nobody with a token'}{one.skipped ? ` (and ${one.skipped} more)` : ''}</td>
                <td data-label="From">{one.from}</td>
                <td data-label="What">{one.method} {one.path}{one.made && <div class="quiet"><Made path={one.made} /></div>}</td>
                <td data-label="Answer"><State kind={one.status < 400 ? 'well' : 'error'}>{one.status}</State></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <div class="actions">
        {cursor.length > 0 && <button type="button" onClick={() => setCursor(cursor.slice(0, -1))}>Newer</button>}
        {value?.length === 100 && <button type="button" onClick={() => setCursor([...cursor, value.at(-1)?.request ?? ''])}>Older</button>}
      </div>
    </Page>
  )
}
