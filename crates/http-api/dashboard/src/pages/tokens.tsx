import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ask, get, post, type NewToken, type Role, type Token } from '../api.ts'
import { now } from '../live.ts'
import { Action, Loading, Page, Trouble, useLoaded } from '../parts.tsx'
import { moment, until } from '../words.ts'

export function TokensPage(): JSX.Element {
  const { value, error, again } = useLoaded((signal) => get<{ tokens: Token[] }>('/v1/tokens', signal), [])
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('viewer')
  const [days, setDays] = useState('30')
  const [made, setMade] = useState<NewToken | null>(null)
  const [trouble, setTrouble] = useState<unknown>(null)
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setTrouble(null)
    try {
      await work()
      again()
    } catch (failed) {
      setTrouble(failed)
    }
  }
  const create = (event: SubmitEvent): void => {
    event.preventDefault()
    void attempt(async () => {
      setMade(await post<NewToken>('/v1/tokens', { name, role, days: Number(days) }))
      setName('')
    })
  }
  return (
    <Page title="Tokens">
      <form class="row" onSubmit={create}>
        <label>For whom <input value={name} required onInput={(event) => setName(event.currentTarget.value)} /></label>
        <label>Role{' '}
          <select value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            <option value="viewer">viewer: sees</option>
            <option value="operator">operator: applies as well</option>
            <option value="admin">admin: resets, and makes tokens</option>
          </select>
        </label>
        <label>Days <input type="number" min={1} max={400} value={days} onInput={(event) => setDays(event.currentTarget.value)} /></label>
        <button type="submit" class="main">Make a token</button>
      </form>
      {made && (
        <section class="box" role="status">
          <p>The token of {made.name}; it is shown only now:</p>
          <p><code>{made.secret}</code></p>
          <button type="button" onClick={() => void navigator.clipboard.writeText(made.secret)}>Copy</button>{' '}
          <button type="button" onClick={() => setMade(null)}>I have it</button>
        </section>
      )}
      {trouble !== null && <Trouble error={trouble} />}
      {error ? <Trouble error={error} again={again} /> : !value ? <Loading what="tokens" /> : (
        <table class="cards">
          <caption>Valid tokens</caption>
          <thead><tr><th scope="col">Who</th><th scope="col">Role</th><th scope="col">Made</th><th scope="col">Ends</th><th scope="col"><span class="sr">What to do</span></th></tr></thead>
          <tbody>
            {value.tokens.map((token) => (
              <tr key={token.id}>
                <th scope="row">{token.name}</th>
                <td data-label="Role">{token.role}</td>
                <td data-label="Made">{moment(token.made)}</td>
                <td data-label="Ends">{until(token.ends, now.value)}</td>
                <td><Action role="admin" onClick={() => void attempt(async () => { await ask('DELETE', `/v1/tokens/${token.id}`) })}>Revoke<span class="sr"> that of {token.name}</span></Action></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Page>
  )
}
