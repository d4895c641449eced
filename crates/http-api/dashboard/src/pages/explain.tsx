import type { JSX } from 'preact'
import { get, type Explained } from '../api.ts'
import { Loading, Page, Trouble, useLoaded } from '../parts.tsx'

export function ExplainPage({ id }: { id: string }): JSX.Element {
  const { value, error, again } = useLoaded((signal) => get<Explained>(`/v1/explain/${encodeURIComponent(id)}`, signal), [id])
  return (
    <Page title={value?.title ?? id}>
      {error ? <Trouble error={error} again={again} /> : !value ? <Loading what="the page" /> : <pre class="text">{value.text}</pre>}
      <p class="quiet"><code>etcdup explain {id}</code> says the same in a terminal.</p>
    </Page>
  )
}
