// A browser, and what every walk through the page needs of it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

export const at = process.env.ETCDUP_AT ?? 'http://127.0.0.1:8379'
const shots = process.env.ETCDUP_SHOTS

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  // Tests run as root, where Chromium's own sandbox does not.
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

/** A page under the server's own policy; whatever its console complains of fails the walk. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const complaints = []
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`${message.text()} ${message.location().url}`)
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  return { context, page, complaints }
}

const LOOKS = [[1280, 'light'], [390, 'dark'], [1280, 'dark'], [390, 'light']]
// What the sample looks at next: every page in one way, and every way on some pages.
let turn = 0

/**
 * What axe finds on a page: with ETCDUP_LONG in both themes, on a desktop and on a phone. `act`
 * brings the page into the state that is looked at, where that is not the one it begins in.
 */
export async function accessible(browser, session, path, ready, act) {
  const sample = [LOOKS[turn++ % LOOKS.length]]
  for (const look of process.env.ETCDUP_LONG || shots ? LOOKS : sample) {
    await lookAt(browser, session, path, ready, act, look)
  }
}

async function lookAt(browser, session, path, ready, act, [width, colorScheme]) {
  // axe cannot be brought in under the page's policy, so here alone it does not hold.
  const context = await browser.newContext({ bypassCSP: true, viewport: { width, height: 844 }, colorScheme })
  if (session) await context.addInitScript((kept) => sessionStorage.setItem('etcdup-session', kept), session)
  const page = await context.newPage()
  await page.goto(`${at}/#/${path}`)
  await page.getByText(ready).first().waitFor()
  // Offline nothing more is loaded, axe neither.
  await page.evaluate(axe)
  if (act) await act(page, context)
  const found = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: 'tag', values } }), RULES)
  const faults = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' | ')}`)
  assert.deepEqual(faults, [], `${path || 'clusters'} at ${width} px, ${colorScheme}`)
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  assert.ok(wide <= 0, `${path} at ${width} px is ${wide} px too wide`)
  if (shots) {
    const name = `${(path || 'clusters').replaceAll('/', '-').slice(0, 40)}-${width}-${colorScheme}`
    await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true })
  }
  await context.close()
}

/** Asks the server as a program does. */
export async function api(session, method, path, body, headers = {}) {
  const { secret } = JSON.parse(session)
  const json = typeof body === 'string' ? body : JSON.stringify(body)
  const kind = typeof body === 'string' ? 'text/plain' : 'application/json'
  const sent = body === undefined ? {} : { body: json }
  const type = body === undefined ? {} : { 'Content-Type': kind }
  return fetch(`${at}${path}`, { method, ...sent, headers: { Authorization: `Bearer ${secret}`, ...type, ...headers } })
}
