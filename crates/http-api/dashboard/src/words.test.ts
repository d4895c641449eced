import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ago, bytes, cost, count, legFrom, roleOf, span, until } from './words.ts'

test('bytes have a unit that fits', () => {
  const shown = [0, 20480, 999_400, 999_600, 412_000_000, 2_147_483_648].map(bytes)
  assert.deepEqual(shown, ['0 B', '20 kB', '999 kB', '1.0 MB', '412 MB', '2.1 GB'])
})

test('spans are told in their largest unit', () => {
  const shown = [-5, 0, 59_000, 61_000, 3_700_000, 49 * 3_600_000].map(span)
  assert.deepEqual(shown, ['0 s', '0 s', '59 s', '1 min', '1 h', '2 d'])
})

test('times are told from now', () => {
  const now = Date.parse('2026-11-25T12:00:00Z')
  assert.equal(ago('2026-11-25T11:59:58Z', now), '2 s ago')
  assert.equal(until('2026-11-25T12:00:30Z', now), 'in 30 s')
  assert.equal(until('2026-11-25T11:59:00Z', now), 'ended 1 min ago')
  assert.equal(count(1, 'stage'), '1 stage')
  assert.equal(count(3, 'stage'), '3 stages')
})

test('a member is what its cluster makes of it', () => {
  assert.equal(roleOf({ standing: 'voter', answer: { leads: true } }), 'leader')
  assert.equal(roleOf({ standing: 'voter', answer: null, leaves: true }), 'not seen, to be removed')
  assert.equal(roleOf({ standing: 'learner', behind: 1 }), 'learner, 1 entry behind')
  assert.equal(roleOf({ standing: 'learner' }), 'learner')
  assert.equal(roleOf({ standing: 'unmanaged' }), 'in no file')
})

test('a leg says what it costs', () => {
  const stage = (leg: string, impact: unknown, outage = false): { leg: string; impact: unknown; scope: { outage: boolean } } => ({ leg, impact, scope: { outage } })
  const stages = [stage('etcd 3.5', 'none'), stage('etcd 3.5', { restart: 'm1' }), stage('etcd 3.6', { restart: 'm1' }, true)]
  assert.equal(cost(legFrom(stages, 0)), '2 stages, 1 restart, no outage')
  assert.equal(cost(legFrom(stages, 2)), '1 stage, 1 restart, causes an outage')
  assert.equal(cost([stages[0]]), '1 stage, no restart, no outage')
})
