// What a person does: signs in, adds a cluster, plans, applies, watches, loses a member, repairs.
// Everything is real: the server, three hosts, etcd, the browser.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { accessible, api, at, launch, open } from './browser.mjs'

const code = process.env.ETCDUP_CODE
let topology = readFileSync(process.env.ETCDUP_TOPOLOGY, 'utf8')
const name = /cluster = "([^"]+)"/.exec(topology)[1]
const started = Date.now()

function step(what) {
  console.log(`${((Date.now() - started) / 1000).toFixed(1)} s  ${what}`)
}

const browser = await launch()
const { context, page, complaints } = await open(browser)
const said = (text) => page.getByText(text).first().waitFor()
const press = (text) => page.getByRole('button', { name: text }).first().click()

async function failed(error) {
  const shot = process.env.ETCDUP_FAILED
  if (shot) await page.screenshot({ path: shot, fullPage: true }).catch(() => {})
  console.log(await page.locator('body').innerText().catch(() => ''))
  console.error(error)
  console.error(complaints.join('\n'))
  await browser.close()
  process.exit(1)
}

async function walk() {
  step('signs in by the address that the server printed')
  const opened = Date.now()
  await page.goto(`${at}/#code=${code}`)
  await said('There is no cluster yet')
  const first = Date.now() - opened
  step(`first page after ${first} ms`)
  assert.ok(first < 1000, `the first page took ${first} ms`)
  assert.ok(!page.url().includes(code), 'the code is still in the address')
  const session = await page.evaluate(() => sessionStorage.getItem('etcdup-session'))
  await accessible(browser, session, '', 'There is no cluster yet')

  await accessible(browser, null, '', 'Sign in')
  await accessible(browser, session, 'nowhere', 'There is no such page')

  step('a code is valid once')
  const second = await open(browser)
  await second.page.goto(`${at}/#code=${code}`)
  await second.page.getByText('valid once').waitFor()
  await second.context.close()

  step('adds a topology; a wrong line is marked')
  await page.getByRole('link', { name: 'Add a topology' }).click()
  await page.getByLabel('Topology').fill(topology.replace('[[member]]', '[[membr]]'))
  await press('Check')
  await page.locator('.editor .marked').waitFor()
  await page.getByLabel('Topology').fill(topology.replace('source:key', '/root/.ssh/id_ed25519'))
  await press(`Add ${name}`)
  await said('source')
  await page.getByLabel('Topology').fill(topology)
  await press(`Add ${name}`)
  await page.getByRole('heading', { name }).waitFor()
  await accessible(browser, session, 'add', 'From a cluster that runs')
  await said('not bootstrapped yet')

  step('plans')
  await press('Plan')
  await page.getByRole('heading', { name: `Plan for ${name}` }).waitFor()
  const plan = page.url().split('#/')[1]
  await page.locator('.stages summary').first().click()
  await accessible(browser, session, plan, 'no outage')

  step('applies, and watches through a reload and a cut')
  await press('Apply: ')
  await said('running')
  const operation = page.url().split('#/')[1]
  await page.reload()
  await context.setOffline(true)
  await said('Offline since')
  await context.setOffline(false)
  await page.locator('.state.done').filter({ hasText: /^✓ done/ }).waitFor({ timeout: 120_000 })
  // The record may say so before the stream has caught up after the cut.
  await said('○ ended')
  await page.getByText(/^Events/).click()
  const listed = await page.locator('.events li').count()
  const told = await (await api(session, 'GET', `/v1/${operation}/events`)).json()
  assert.equal(listed, told.next, 'events are missing, or twice')
  await accessible(browser, session, operation, 'Stages')

  step('sees the cluster well, and every tab of it')
  await page.goto(`${at}/#/clusters/${name}`)
  await said('3 of 3 voters are healthy')
  await page.locator('.standing .state.well').waitFor({ timeout: 30_000 })
  await accessible(browser, session, `clusters/${name}`, '3 of 3 voters')
  await accessible(browser, session, `clusters/${name}/topology`, 'Save')
  await accessible(browser, session, `clusters/${name}/checks`, 'every check passes')
  await accessible(browser, session, `clusters/${name}/certificates`, 'The first to end')
  await accessible(browser, session, `clusters/${name}/history`, 'The newest first')
  await accessible(browser, session, `clusters/${name}/hosts`, 'Hosts as of')
  await accessible(browser, session, `clusters/${name}/drift`, 'No drift')

  await accessible(browser, session, `clusters/${name}`, '3 of 3 voters', async (seen, cut) => {
    await cut.setOffline(true)
    await seen.getByText('Offline since').waitFor()
    assert.equal(await seen.locator('.state.well').count(), 0, 'green while offline')
  })

  step('sees within 15 s that a member stopped')
  const stopped = Date.now()
  execFileSync('sh', ['-c', process.env.ETCDUP_STOP], { stdio: 'ignore' })
  await page.goto(`${at}/#/`)
  await page.getByRole('table', { name: 'Needs attention' }).getByText('does not serve').waitFor()
  const took = Date.now() - stopped
  step(`seen after ${took} ms`)
  assert.ok(took < 15_000, `it took ${took} ms`)
  await accessible(browser, session, '', 'does not serve')

  step('repairs it')
  await page.getByRole('link', { name }).first().click()
  await press('Plan')
  await press('Apply: ')
  await page.locator('.state.done').filter({ hasText: /^✓ done/ }).waitFor({ timeout: 60_000 })
  await page.goto(`${at}/#/clusters/${name}`)
  await page.locator('.standing .state.well').waitFor({ timeout: 30_000 })

  step('takes a member out by an edit of the topology, and in again')
  const edit = async (changed, { planned, far, ended, voters }) => {
    await page.goto(`${at}/#/clusters/${name}/topology`)
    await page.getByLabel(`Topology of ${name}`).fill(changed)
    await press('Save')
    await said('Saved; nothing on the hosts was changed')
    await press('Plan')
    await page.getByRole('heading', { name: `Plan for ${name}` }).waitFor()
    await said(planned)
    await press('Apply: ')
    // Data is moved aside: that wants the cluster's name.
    if (far) {
      const asked = page.getByRole('dialog')
      await asked.getByRole('textbox').fill(name)
      await asked.getByRole('button', { name: /^Apply/ }).click()
    }
    await page.waitForURL(/operations/)
    await page.locator('.state.done').filter({ hasText: /^✓ done/ }).waitFor({ timeout: 90_000 })
    if (ended) await said(ended)
    await page.goto(`${at}/#/clusters/${name}`)
    await said(voters)
  }
  const without = topology.replace(/\[\[member\]\]\nname = "m3"\n[^[]*/, '')
  assert.notEqual(without, topology)
  await edit(without, { planned: 'remove m3 from the cluster', far: true, voters: '2 of 2 voters are healthy' })
  await edit(topology, { planned: 'add m3 to the cluster as a learner', voters: '3 of 3 voters are healthy' })

  step('gives logs a directory of their own, and sees where the cluster stands between the legs')
  topology = topology.replace('[[member]]', '[layout]\nwal = "/srv/log"\n\n[[member]]')
  await edit(topology, { planned: 'Leg 1 of 2: each member where the file has it', ended: 'reached: as the file says', voters: '3 of 3 voters are healthy' })
  await page.locator('.standing .state.well').waitFor({ timeout: 30_000 })

  step('has nothing to maintain, and lets another member lead')
  await page.getByText('More', { exact: true }).click()
  await press('Plan maintenance')
  await said('at least half of every database is in use')
  await page.goto(`${at}/#/clusters/${name}`)
  await page.getByText('More', { exact: true }).click()
  await press('Plan another leader')
  await press('Move leadership: 1 stage')
  await page.waitForURL(/operations/)
  await page.locator('.state.done').filter({ hasText: /^✓ done/ }).waitFor({ timeout: 60_000 })
  await page.goto(`${at}/#/clusters/${name}/history`)
  await said('move-leader, done')
  await said('The hosts know of nothing that was carried out from elsewhere')

  step('takes a snapshot, proves it, and restores it behind the typed name, knowing what is lost')
  await page.goto(`${at}/#/clusters/${name}/snapshots`)
  await press('Take a snapshot')
  await said('verified when it was taken')
  await accessible(browser, session, `clusters/${name}/snapshots`, 'Snapshots, the newest first')
  await press('Verify')
  await page.locator('.state.well').filter({ hasText: /whole$/ }).waitFor()
  await press('Drill')
  await page.getByText('restored and read back: ').waitFor({ timeout: 60_000 })
  await press('Plan a restore')
  await page.getByRole('heading', { name: `Plan for ${name}` }).waitFor()
  await press('Restore: ')
  const typed = page.getByRole('dialog')
  await typed.getByText('whatever was written since is lost').waitFor()
  assert.ok(await typed.getByRole('button', { name: /^Restore/ }).isDisabled())
  await typed.getByRole('textbox').fill(name)
  await typed.getByRole('button', { name: /^Restore/ }).click()
  await page.waitForURL(/operations/)
  await page.locator('.state.done').filter({ hasText: /^✓ done/ }).waitFor({ timeout: 90_000 })
  await page.goto(`${at}/#/clusters/${name}`)
  await said('3 of 3 voters are healthy')
  await page.locator('.standing .state.well').waitFor({ timeout: 30_000 })

  step('is told when somebody else changed the topology')
  await page.goto(`${at}/#/clusters/${name}/topology`)
  const text = page.getByLabel(`Topology of ${name}`)
  await text.fill(`${topology}\n# mine\n`)
  const other = await api(session, 'GET', `/v1/clusters/${name}/topology`)
  const put = await api(session, 'PUT', `/v1/clusters/${name}/topology`, `${topology}\n# theirs\n`, { 'If-Match': other.headers.get('ETag') })
  assert.equal(put.status, 200)
  await press('Save')
  await said('Somebody changed the topology meanwhile')
  await said('# theirs')
  await press('Overwrite with my version')
  await press('Save')
  await said('Saved; nothing on the hosts was changed')

  step('asks for the name before a reset, and leaves it')
  await page.getByText('More', { exact: true }).click()
  await press('Plan a reset')
  await page.getByRole('heading', { name: `Plan for ${name}` }).waitFor()
  const reset = page.url().split('#/')[1]
  await accessible(browser, session, reset, 'Reset: ', async (seen) => {
    await seen.getByRole('button', { name: 'Reset: ' }).click()
    await seen.getByRole('dialog').waitFor()
  })
  await press('Reset: ')
  const dialog = page.getByRole('dialog')
  assert.ok(await dialog.getByRole('button', { name: /^Reset/ }).isDisabled())
  await dialog.getByRole('textbox').fill('prodd')
  assert.ok(await dialog.getByRole('button', { name: /^Reset/ }).isDisabled())
  await dialog.getByRole('button', { name: 'Cancel' }).click()

  step('makes a token for a viewer, who sees and changes nothing')
  await page.goto(`${at}/#/tokens`)
  await page.getByLabel('For whom').fill('vera')
  await press('Make a token')
  await said('it is shown only now')
  const secret = await page.locator('code').filter({ hasText: 'etcdup_' }).innerText()
  await accessible(browser, session, 'tokens', 'Valid tokens')
  await accessible(browser, session, 'audit', 'Who changed what')
  await accessible(browser, session, 'operations', 'The newest first')
  await accessible(browser, session, 'explain/quorum-lost', 'says the same')
  const viewer = await open(browser)
  await viewer.page.goto(`${at}/#/clusters/${name}`)
  await viewer.page.getByLabel('Token').fill(secret)
  await viewer.page.getByRole('button', { name: 'Sign in' }).click()
  // In the place that was asked for.
  await viewer.page.getByText('3 of 3 voters are healthy').waitFor()
  assert.ok(await viewer.page.getByRole('button', { name: /^Plan/ }).first().isDisabled())
  step('a token that was revoked leads to the sign-in, and back to the same page')
  await press('Revoke that of vera')
  await viewer.page.getByRole('heading', { name: 'Sign in' }).waitFor({ timeout: 30_000 })
  await viewer.page.getByLabel('Token').fill(JSON.parse(session).secret)
  await viewer.page.getByRole('button', { name: 'Sign in' }).click()
  await viewer.page.getByText('3 of 3 voters are healthy').waitFor()
  // The browser itself notes each refusal.
  const own = viewer.complaints.filter((text) => !text.includes('401'))
  assert.deepEqual(own, [])
  await viewer.context.close()

  step('by the keyboard alone')
  await page.goto(`${at}/#/operations`)
  await page.getByRole('heading', { name: 'History' }).waitFor()
  await page.keyboard.press('/')
  await page.waitForFunction(() => document.activeElement?.id === 'search')
  await page.keyboard.type(name)
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name }).waitFor()
  // Where a reader begins.
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1')

  // A cut connection, and what a wrong topology is answered with, are noted by the browser itself.
  const own2 = complaints.filter((text) => !/ERR_INTERNET_DISCONNECTED|status of (401|409|412|422)/.test(text))
  assert.deepEqual(own2, [])
  step('nothing else was complained of')
}

await walk().catch(failed)
await browser.close()
