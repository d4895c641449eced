import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Operation, Plan } from './api.ts'
import { lossOf, planAgain } from './goals.ts'

const order = { id: '1', path: '/srv/snapshots/prod/prod-1-r7.db', sha256: '', size: 1, bump: false, again: true, known: { 'cluster-id': '1', etcd: '3.5.30', revision: 7, taken: '2026-11-25T12:00:00Z' } }

test('what an operation was for is asked for once more, with all that was chosen', () => {
  const again = (goal: object): object => planAgain(goal as Operation)
  assert.deepEqual(again({ goal: 'restore', order }), { verb: 'restore', snapshot: 'prod-1-r7', 'no-bump-revision': true, again: true })
  assert.deepEqual(again({ goal: 'abort-restore' }), { verb: 'abort-restore' })
  assert.deepEqual(again({ goal: 'recover', gone: ['m2', 'm3'] }), { verb: 'recover', gone: ['m2', 'm3'] })
  assert.deepEqual(again({ goal: 'maintain', all: true, 'allow-outage': false }), { verb: 'maintain', compact: false, all: true, 'allow-outage': false })
  assert.deepEqual(again({ goal: 'move-leader', to: 'm2' }), { verb: 'move-leader', to: 'm2' })
})

test('a restore and a recovery say what is lost, and one that goes on does, too', () => {
  const stage = (key: string, why: string[]): object => ({ key, why })
  const loss = (plan: object): string[] => lossOf(plan as Plan)
  const figures = ['whatever was written since is lost']
  assert.deepEqual(loss({ goal: 'restore', order, stages: [stage('begin-restore', figures)] }), figures)
  assert.deepEqual(loss({ goal: 'recover', gone: [], stages: [stage('choose:m1', figures)] }), figures)
  const resumed = loss({ goal: 'restore', order, stages: [stage('set-aside', ['m1 on a'])] })
  assert.match(resumed.join(), /at revision 7 or a little later: whatever was written since is lost/)
  assert.match(loss({ goal: 'recover', gone: ['m2'], stages: [] }).join(), /lost; gone: m2/)
  assert.deepEqual(loss({ goal: 'converge', stages: [] }), [])
})
