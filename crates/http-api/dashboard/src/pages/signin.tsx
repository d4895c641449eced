import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ask, post, Refused, signIn, type NewToken, type Session } from '../api.ts'
import { Page, Trouble } from '../parts.tsx'
import { codeOfAddress } from '../route.ts'
import { signal } from '@preact/signals'

const failed = signal<unknown>(null)

/** Signs in with the code that the address brings, where it brings one. */
export async function signInByAddress(): Promise<void> {
  const code = codeOfAddress()
  if (code === null) return
  try {
    const made = await post<NewToken>('/v1/session', { code })
    signIn({ secret: made.secret, name: made.name, role: made.role, ends: made.ends })
  } catch (error) {
    failed.value = error
  }
}

/** In the place of any page: it is there again once somebody is signed in. */
export function SignIn(): JSX.Element {
  const [secret, setSecret] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    failed.value = null
    try {
      const headers = { Authorization: `Bearer ${secret.trim()}` }
      const me = await ask<Omit<Session, 'secret'>>('GET', '/v1/me', { headers })
      signIn({ ...me.body, secret: secret.trim() })
    } catch (error) {
      failed.value = error
    }
    setBusy(false)
  }
  const error = failed.value
  return (
    <Page title="Sign in">
      <form onSubmit={(event) => void submit(event)}>
        <label>
          Token
          <input type="password" autocomplete="current-password" value={secret} required
            onInput={(event) => setSecret(event.currentTarget.value)} />
        </label>
        <button type="submit" class="main" disabled={busy}>Sign in</button>
      </form>
      <p class="quiet">
        <code>etcdup token create NAME --role operator</code> makes one; <code>etcdup serve</code> prints an
        address that signs you in.
      </p>
      {error !== null && <Trouble error={error instanceof Refused ? error : new Error('the token cannot be used')} />}
    </Page>
  )
}
