import assert from 'node:assert/strict'
import { test } from 'node:test'

import { told, unfold } from './told.ts'
import type { Event } from './api.ts'

const at = '2026-11-25T12:00:00Z'
const operation = '01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b'

function event(seq: number, body: object): Event {
  return { seq, at, operation, ...body } as unknown as Event
}

const stages = [{ key: 'install', title: 'Install' }, { key: 'roll:m2', title: 'Restart m2' }]
const all = [
  event(0, { event: 'started', format: 'etcdup/events/1', verb: 'apply', stages }),
  event(1, { event: 'stage-started', index: 0, key: 'install', title: 'Install' }),
  event(2, { event: 'host', host: '10.0.0.1', what: 'files', state: 'done' }),
  event(3, { event: 'stage-done', index: 0, key: 'install', elapsed_ms: 900 }),
  event(4, { event: 'stage-started', index: 1, key: 'roll:m2', title: 'Restart m2' }),
  event(5, { event: 'gate', holds: 'm2 serves', why: 'connection refused' }),
  event(6, { event: 'failed', message: 'm2 does not serve', findings: [] }),
]

test('the view says how each stage stands, whatever came last', () => {
  const half = unfold(all.slice(0, 6))
  assert.deepEqual(half.stages.map((stage) => stage.state), ['done', 'running'])
  assert.equal(half.stages[1]?.waits, 'm2 serves: connection refused')
  assert.equal(half.stages[0]?.hosts.get('10.0.0.1')?.state, 'done')
  assert.equal(half.end, null)
  const whole = unfold(all)
  assert.deepEqual(whole.stages.map((stage) => stage.state), ['done', 'failed'])
  assert.equal(whole.failure?.message, 'm2 does not serve')
  assert.match(whole.said, /^failed/)
})

test('events that come out of order tell the same', () => {
  assert.deepEqual(unfold([...all].reverse()), unfold(all))
})

test('every event has a line', () => {
  for (const one of all) assert.notEqual(told(one), undefined)
})
