import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ask, get, Refused, type Finding, type Operation, type Plan, type Stage } from '../api.ts'
import { Action, Confirm, Findings, Loading, Page, State, Trouble, useLoaded } from '../parts.tsx'
import { addressOf } from '../live.ts'
import { lossOf } from '../goals.ts'
import { go, to } from '../route.ts'
import { cost, count, legFrom } from '../words.ts'

export function impact(stage: Stage): string {
  const of = stage.impact
  if (of === 'none') return 'no impact on clients'
  if ('restart' in of) return `${of.restart} restarts while the others serve`
  if ('pause' in of) return `${of.pause} answers nothing meanwhile; the others serve`
  return `outage: ${of.outage}`
}

const verbs = { converge: 'apply', reset: 'reset', maintain: 'maintain', disarm: 'disarm', restore: 'restore', 'abort-restore': 'abort-restore', recover: 'recover', 'move-leader': 'move-leader' } as const

const titles = { apply: 'Apply', reset: 'Reset', maintain: 'Maintain', disarm: 'Disarm alarms', restore: 'Restore', 'abort-restore': 'Give the restore up', recover: 'Recover', 'move-leader': 'Move leadership' } as const

const nothing = {
  apply: 'the cluster is as its file says',
  reset: 'no member is on its hosts',
  maintain: 'at least half of every database is in use, and no alarm is raised',
  disarm: 'the alarm NOSPACE is not raised',
  restore: 'it was restored from that snapshot already',
  'abort-restore': 'no restore is under way',
  recover: 'it goes on with one member already',
  'move-leader': 'it leads already',
} as const

function far(plan: Plan): boolean {
  const allowed = (plan.goal === 'converge' || plan.goal === 'maintain') && plan['allow-outage']
  return plan.goal === 'reset' || plan.goal === 'restore' || plan.goal === 'abort-restore' || plan.goal === 'recover' || allowed || plan.stages.some((stage) => stage.scope.outage || stage.scope.destroys)
}

/** A key for one press of the button: the request may be sent twice and begins one operation. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

export function PlanPage({ digest }: { digest: string }): JSX.Element {
  const { value, error, again } = useLoaded((signal) => get<Plan>(`/v1/plans/${digest}`, signal), [digest])
  const [replaced, setReplaced] = useState<Plan | null>(null)
  const [trouble, setTrouble] = useState<unknown>(null)
  const [asking, setAsking] = useState(false)
  const [busy, setBusy] = useState(false)
  const [key] = useState(newKey)
  if (error) return <Page title="Plan"><Trouble error={error} again={again} /><p>A plan is kept for an hour, as long as the server runs. <a href={to('clusters')}>Make another from its cluster.</a></p></Page>
  if (!value) return <Page title="Plan"><Loading what="the plan" /></Page>
  const plan = value
  const verb = verbs[plan.goal]
  const begin = async (confirm?: string): Promise<void> => {
    setBusy(true)
    setTrouble(null)
    try {
      const body = { verb, plan: plan.digest, ...(confirm ? { confirm } : {}) }
      const { body: begun } = await ask<Operation>('POST', `/v1/clusters/${addressOf(plan.cluster)}/operations`, { body, headers: { 'Idempotency-Key': key } })
      go('operations', begun.id)
    } catch (failed) {
      const fresh = failed instanceof Refused ? failed.problem.plan : null
      if (fresh) setReplaced(fresh)
      else setTrouble(failed)
    }
    setBusy(false)
  }
  const restarts = plan.stages.flatMap((stage) => (typeof stage.impact === 'object' && 'restart' in stage.impact ? [stage.impact.restart] : []))
  const words = `${titles[verb]}: ${count(plan.stages.length, 'stage')} to ${plan.cluster}`
  const press = (): void => (far(plan) ? setAsking(true) : void begin())
  const before = new Map(plan.stages.map((stage) => [JSON.stringify(stage.key), JSON.stringify(stage)]))
  return (
    <Page title={`Plan for ${plan.cluster}`}>
      <p><a href={to('clusters', addressOf(plan.cluster))}>{plan.cluster}</a> · {digest.slice(0, 8)} · {count(plan.stages.length, 'stage')}
        {restarts.length > 0 && `, ${[...new Set(restarts)].join(', ')} restart`}
        {plan.stages.some((stage) => stage.scope.outage) ? ', causes an outage' : ', no outage'}</p>
      <Findings findings={plan.warnings as Finding[]} />
      {plan.ending !== 'done' && (
        <section class="trouble"><p><State kind="error"><strong>the plan is blocked</strong></State></p><Findings findings={plan.findings as Finding[]} /></section>
      )}
      {plan.ending === 'done' && !plan.changes && <p><State kind="well">Nothing to do: {nothing[verb]}.</State></p>}
      <Stages stages={plan.stages} />
      {replaced ? (
        <section class="trouble" role="alert">
          <h2>The plan changed since you read it</h2>
          <p>Nothing was done. This is the one that holds now; what differs is marked.</p>
          <Stages stages={replaced.stages} differs={(stage) => before.get(JSON.stringify(stage.key)) !== JSON.stringify(stage)} />
          <a class="button" href={to('plans', replaced.digest)}>Go on with this plan</a>
        </section>
      ) : plan.ending === 'done' && plan.changes && (
        <Action role={far(plan) ? 'admin' : 'operator'} kind={far(plan) ? 'danger' : 'main'} busy={busy} onClick={press}>{words}</Action>
      )}
      {trouble !== null && <Trouble error={trouble} />}
      {asking && <Confirm cluster={plan.cluster} what={words} onClose={() => setAsking(false)} onDone={() => { setAsking(false); void begin(plan.cluster) }}
        loss={<ul>{lossOf(plan).map((why) => <li key={why}>{why}</li>)}{verb === 'reset' && <li>the cluster stops, and is disabled on every host</li>}{plan.stages.filter((stage) => stage.scope.outage || stage.scope.destroys).map((stage) => <li key={JSON.stringify(stage.key)}>{stage.title}: {impact(stage)}</li>)}</ul>} />}
    </Page>
  )
}

export function Stages({ stages, differs }: { stages: Stage[]; differs?: (stage: Stage) => boolean }): JSX.Element {
  const begins = (stage: Stage, at: number): boolean => Boolean(stage.leg) && stage.leg !== stages[at - 1]?.leg
  const firsts = stages.filter(begins)
  return (
    <ol class="stages">
      {stages.map((stage, at) => (
        <li key={JSON.stringify(stage.key)} class={stage.scope.outage || stage.scope.destroys ? 'far' : undefined}>
          {begins(stage, at) && <p class="leg">Leg {firsts.indexOf(stage) + 1} of {firsts.length}: {stage.leg} ({cost(legFrom(stages, at))})</p>}
          <h2>{stage.title}{differs?.(stage) && <State kind="warning">differs</State>}</h2>
          <p class="quiet">{impact(stage)}</p>
          {stage.why.map((why) => <p key={why}>because {why}</p>)}
          <details>
            <summary>{count(stage.steps.length, 'step')}</summary>
            <ul>
              {stage.steps.map((step, index) => (
                <li key={index}>
                  <strong>{step.on}</strong> {step.step}
                  {step.diff && step.diff.length > 0 && (
                    <pre class="diff" tabIndex={0} aria-label="what changes in the file">{step.diff.map((text, at) => <span key={at} class={text.startsWith('+') ? 'plus' : text.startsWith('-') ? 'minus' : undefined}>{text}{'\n'}</span>)}</pre>
                  )}
                </li>
              ))}
            </ul>
            {stage.gates.length > 0 && <p class="quiet">afterwards: {stage.gates.join('; ')}</p>}
          </details>
        </li>
      ))}
    </ol>
  )
}
