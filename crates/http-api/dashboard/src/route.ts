// Where the page is: behind `#`, so that it works behind any prefix and no server knows of it.

import { signal } from '@preact/signals'

export interface Route {
  path: string[]
}

function read(): Route {
  const path = location.hash.replace(/^#\/?/, '').split('/').filter(Boolean)
  return { path: path.map(decodeURIComponent) }
}

export const route = signal<Route>({ path: [] })

export function start(): void {
  route.value = read()
  addEventListener('hashchange', () => {
    if (location.hash.startsWith('#code=')) return
    route.value = read()
  })
}

/** The address of a place in the page. */
export function to(...path: string[]): string {
  return `#/${path.map(encodeURIComponent).join('/')}`
}

export function go(...path: string[]): void {
  location.hash = to(...path).slice(1)
}

/** The code to sign in with, where the address brings one; it is gone from it afterwards. */
export function codeOfAddress(): string | null {
  const found = /^#code=([0-9a-f]+)$/.exec(location.hash)
  if (!found) return null
  history.replaceState(null, '', `${location.pathname}#/`)
  return found[1] ?? null
}
