import assert from 'node:assert/strict'
import { test } from 'node:test'

import { split } from './stream.ts'

test('events are whole wherever the bytes are cut', () => {
  const text = 'retry: 1000\n\n:\n\nid: 0\ndata: {"a":1}\n\nid: 1\ndata: {"b":2}\n\n'
  for (let cut = 0; cut <= text.length; cut += 1) {
    const first = split(text.slice(0, cut))
    const second = split(first.rest + text.slice(cut))
    const events = [...first.events, ...second.events]
    assert.deepEqual(events, [
      { id: '0', data: '{"a":1}' },
      { id: '1', data: '{"b":2}' },
    ])
    assert.equal(second.rest, '')
  }
})
