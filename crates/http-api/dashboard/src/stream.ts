// Server-sent events over fetch, which can send a header where EventSource cannot.

import { offline, session } from './api.ts'

export type State = 'live' | 'reconnecting' | 'ended'

/** Splits what arrived into whole events, and what is left of the last one. */
export function split(text: string): { events: { id: string; data: string }[]; rest: string } {
  const parts = text.split('\n\n')
  const rest = parts.pop() ?? ''
  const events = []
  for (const part of parts) {
    let id = ''
    const data: string[] = []
    for (const line of part.split('\n')) {
      if (line.startsWith('id: ')) id = line.slice(4)
      else if (line.startsWith('data: ')) data.push(line.slice(6))
    }
    if (data.length > 0) events.push({ id, data: data.join('\n') })
  }
  return { events, rest }
}

/**
 * Follows a stream until it ends or is stopped, and goes on behind the last event wherever it is
 * cut. A page that nobody sees follows nothing: browsers hold few connections to a server.
 */
export async function follow(
  path: string,
  each: (data: unknown) => void,
  state: (state: State) => void,
  stop: AbortSignal,
): Promise<void> {
  let last = ''
  let pause = 1000
  while (!stop.aborted) {
    if (document.hidden) {
      await shown(stop)
      continue
    }
    const cut = new AbortController()
    const abort = (): void => cut.abort()
    const hide = (): void => {
      if (document.hidden) cut.abort()
    }
    stop.addEventListener('abort', abort)
    document.addEventListener('visibilitychange', hide)
    try {
      const headers: Record<string, string> = {}
      if (session.value) headers['Authorization'] = `Bearer ${session.value.secret}`
      if (last !== '') headers['Last-Event-ID'] = last
      const response = await fetch(`.${path}`, { headers, signal: cut.signal })
      offline.value = null
      if (response.status === 204 || response.status === 401 || response.status === 404) {
        state('ended')
        return
      }
      if (!response.ok || response.body === null) throw new Error(String(response.status))
      state('live')
      pause = 1000
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const chunk = await reader.read()
        if (chunk.done) break
        const found = split(rest + chunk.value)
        rest = found.rest
        for (const event of found.events) {
          if (event.id !== '') last = event.id
          each(JSON.parse(event.data))
        }
      }
    } catch (error) {
      if (!stop.aborted && !document.hidden) {
        state('reconnecting')
        // Only what never came means that the server is not reached.
        if (error instanceof TypeError) offline.value ??= Date.now()
      }
    } finally {
      stop.removeEventListener('abort', abort)
      document.removeEventListener('visibilitychange', hide)
    }
    await rest(document.hidden ? 0 : pause, stop)
    pause = Math.min(pause * 2, 10_000)
  }
}

/** Waits so long, or until it is stopped. */
export function rest(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds)
    stop.addEventListener('abort', () => {
      clearTimeout(timer)
      done()
    })
  })
}

function shown(stop: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const look = (): void => {
      if (!document.hidden || stop.aborted) {
        document.removeEventListener('visibilitychange', look)
        done()
      }
    }
    document.addEventListener('visibilitychange', look)
    stop.addEventListener('abort', look)
    look()
  })
}
