import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { get, post, type Plan, type Snapshot, type SnapshotChecked, type SnapshotDrilled, type Snapshots } from '../api.ts'
import { now } from '../live.ts'
import { Action, Loading, State, Trouble, useLoaded } from '../parts.tsx'
import { go } from '../route.ts'
import { ago, bytes, moment } from '../words.ts'

/** What reading a snapshot found, of those that were read while this page is open. */
type Found = Record<string, { kind: string; text: string }>

/** The snapshots of a cluster: what is kept, another one, and what they are for. */
export function SnapshotTable({ name }: { name: string }): JSX.Element {
  const { value, error, again: reload } = useLoaded((signal) => get<Snapshots>(`/v1/clusters/${name}/snapshots`, signal), [name], 60_000)
  const [busy, setBusy] = useState('')
  const [found, setFound] = useState<Found>({})
  const [trouble, setTrouble] = useState<unknown>(null)
  const [gone, setGone] = useState('')
  const [on, setOn] = useState('')
  const [unraised, setUnraised] = useState(false)
  const [again, setAgain] = useState(false)
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    setBusy(what)
    setTrouble(null)
    try {
      await work()
    } catch (failed) {
      setTrouble(failed)
    }
    setBusy('')
  }
  const plan = (body: object): Promise<void> => attempt('Looking at the hosts, to plan…', async () => {
    const made = await post<Plan>(`/v1/clusters/${name}/plans`, body)
    go('plans', made.digest)
  })
  const take = (): Promise<void> => attempt('Taking a snapshot…', async () => {
    await post(`/v1/clusters/${name}/snapshots`, undefined)
    reload()
  })
  const note = (of: string, kind: string, text: string): void => setFound((before) => ({ ...before, [of]: { kind, text } }))
  const verify = (of: string): Promise<void> => attempt(`Reading ${of}…`, async () => {
    const read = await post<SnapshotChecked>(`/v1/clusters/${name}/snapshots/${encodeURIComponent(of)}/verify`, undefined)
    note(of, read.whole ? 'well' : 'broken', read.whole ? 'whole' : read.why ?? 'damaged')
  })
  const drill = (of: string): Promise<void> => attempt(`Restoring ${of} into a member that is thrown away…`, async () => {
    const read = await post<SnapshotDrilled>(`/v1/clusters/${name}/snapshots/${encodeURIComponent(of)}/drill${on ? `?on=${encodeURIComponent(on)}` : ''}`, undefined)
    const back = read.restored
    note(of, back ? 'well' : 'broken', back ? `restored and read back: ${back.keys ?? 'unknown'} keys, etcd ${back.etcd}` : read.why ?? 'cannot be restored')
  })
  if (error && !value) return <Trouble error={error} again={reload} />
  if (!value) return <Loading what="snapshots" />
  return (
    <section>
      <p>
        <Action role="operator" kind="main" busy={busy !== ''} onClick={() => void take()}>Take a snapshot</Action>{' '}
        <span class="quiet">{value.every ? `This server takes one every ${value.every}.` : 'Nothing takes them by itself: the topology has no `every` under [snapshots].'}</span>
      </p>
      {busy && <p role="status">{busy}</p>}
      {trouble !== null && <Trouble error={trouble} />}
      {value.snapshots.length === 0 ? <p>No snapshot is kept.</p> : (
        <table class="cards">
          <caption>Snapshots, the newest first</caption>
          <thead><tr><th scope="col">Taken</th><th scope="col">Size</th><th scope="col">Revision</th><th scope="col">Version</th><th scope="col">Proof</th><th scope="col"><span class="sr">What to do</span></th></tr></thead>
          <tbody>{value.snapshots.map((one) => (
            <Row key={one.name} one={one} found={found[one.name]} busy={busy !== ''}
              verify={() => void verify(one.name)} drill={() => void drill(one.name)}
              restore={() => void plan({ verb: 'restore', snapshot: one.name, 'no-bump-revision': unraised, again })} />
          ))}</tbody>
        </table>
      )}
      <details>
        <summary>How to drill and restore</summary>
        <p class="choices">
          <label>Drill on this host of the cluster's, where the server does not run Linux <input value={on} placeholder="10.0.0.11" onInput={(event) => setOn(event.currentTarget.value.trim())} /></label>
          <label><input type="checkbox" checked={unraised} onChange={(event) => setUnraised(event.currentTarget.checked)} /> Restore without raising revisions: clients that watch miss what changed, and must be restarted</label>
          <label><input type="checkbox" checked={again} onChange={(event) => setAgain(event.currentTarget.checked)} /> Restore though the cluster was restored from this snapshot already: what was written since is lost</label>
        </p>
      </details>
      <details>
        <summary>A restore was begun by mistake</summary>
        <p>It can be given up as long as enough members have their own data: the cluster goes on with that.</p>
        <p><Action role="operator" busy={busy !== ''} onClick={() => void plan({ verb: 'abort-restore' })}>Plan to give it up</Action></p>
      </details>
      <details>
        <summary>Most members are gone for good</summary>
        <p>One of those that are left can go on alone, and grow again. What only the others have is lost; the plan says since when. Name the members that never come back: any other must answer.</p>
        <form class="row" onSubmit={(event) => { event.preventDefault(); void plan({ verb: 'recover', gone: gone.split(/[\s,]+/).filter(Boolean) }) }}>
          <label>Members that are gone <input value={gone} placeholder="m2, m3" onInput={(event) => setGone(event.currentTarget.value)} /></label>
          <button type="submit" disabled={busy !== ''}>Plan a recovery</button>
        </form>
      </details>
    </section>
  )
}

function Row({ one, found, busy, verify, drill, restore }: {
  one: Snapshot
  found: { kind: string; text: string } | undefined
  busy: boolean
  verify: () => void
  drill: () => void
  restore: () => void
}): JSX.Element {
  const known = one.document
  return (
    <tr>
      <th scope="row">{moment(one.taken)}, {ago(one.taken, now.value)}<div class="quiet">{one.name}</div>{known?.replaced && <div>what a restore replaced</div>}</th>
      <td data-label="Size">{bytes(one.size)}{one.encrypted && ', encrypted'}</td>
      <td data-label="Revision">{known ? known.revision : '-'}</td>
      <td data-label="Version">{known ? known.etcd : '-'}</td>
      <td data-label="Proof">
        {found ? <State kind={found.kind}>{found.text}</State>
          : known ? <State kind="well">verified when it was taken</State>
          : <State kind="unknown">nothing is known of it</State>}
      </td>
      <td>
        <Action role="operator" busy={busy} onClick={verify}>Verify</Action>{' '}
        <Action role="operator" busy={busy} onClick={drill}>Drill</Action>{' '}
        <Action role="operator" busy={busy} onClick={restore}>Plan a restore</Action>
      </td>
    </tr>
  )
}
