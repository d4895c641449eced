import assert from 'node:assert/strict'
import { test } from 'node:test'

import { legs, lineOf, standing, unfold } from './events.ts'
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

test('between legs it is said where the cluster stands', () => {
  const planned = [
    { key: 'roll:m1', title: 'Restart m1', leg: 'etcd 3.5.33' },
    { key: 'roll:m2', title: 'Restart m2', leg: 'etcd 3.5.33' },
    { key: 'roll:m1', title: 'Restart m1', leg: 'etcd 3.6.14' },
  ]
  const done = (index: number): Event[] => [
    event(2 * index + 1, { event: 'stage-started', index, key: planned[index]?.key, title: planned[index]?.title }),
    event(2 * index + 2, { event: 'stage-done', index, key: planned[index]?.key, elapsed_ms: 1 }),
  ]
  const begun = [event(0, { event: 'started', format: 'etcdup/events/1', verb: 'apply', stages: planned })]
  const first = unfold([...begun, ...done(0)])
  assert.deepEqual(legs(first).map((leg) => [leg.first, leg.state]), [[0, 'running'], [2, 'next']])
  assert.equal(standing(first), 'leg 1 of 2, to etcd 3.5.33')
  const between = unfold([...begun, ...done(0), ...done(1)])
  assert.equal(standing(between), 'leg 2 of 2, to etcd 3.6.14; reached: etcd 3.5.33')
  assert.equal(standing(unfold([...begun, ...done(0), ...done(1), ...done(2)])), 'reached: etcd 3.6.14')
  assert.equal(standing(unfold(all)), '')
})

test('every event has a line', () => {
  for (const one of all) assert.notEqual(lineOf(one), undefined)
})
