/** examples/browser.html in a real browser: what it sends and shows. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { chromium, type Page } from '../support/chromium.ts'
import { device } from '../support/mqtt.ts'
import { packageRoot } from '../support/package-root.ts'
import { startServer, type Server } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const files: Record<string, string> = { '/examples/browser.html': 'text/html', '/node_modules/mqtt/dist/mqtt.min.js': 'text/javascript' }

/** A static server; resolves to its origin. */
async function serve (t: Test): Promise<string> {
  const server = createServer(({ url = '' }, response) => {
    const type = files[url]
    if (type === undefined) return response.writeHead(404).end()
    return response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(readFileSync(new URL(`.${url}`, packageRoot)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const fill = (page: Page, form: string, values: Record<string, string>): Promise<unknown> =>
  page.evaluate(`{ const form = document.getElementById('${form}'); for (const [name, value] of Object.entries(${JSON.stringify(values)})) (form.elements[name] ?? document.getElementById(name)).value = value; form.requestSubmit() }`)

async function signIn (page: Page, server: Server, user: string): Promise<void> {
  await fill(page, 'sign-in', { url: server.wsUrl, user })
  await page.shows(new RegExp(`connected as ${user}`))
}

await t.test('two pages and a device talk', { timeout: 170_000 }, async t => {
  if (!requireTool(t, 'chromium')) return
  const origin = await serve(t)
  const server = await startServer(t, { config: { mqtt: { ws: { origins: [origin] } } } })
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe(['im/u/bob/inbox'])
  const browser = await chromium(t)
  const alice = await browser.open(`${origin}/examples/browser.html`)
  await signIn(alice, server, 'alice')

  await fill(alice, 'begin', { with: 'bob' })
  await fill(alice, 'send', { text: 'hello <b>bob</b>' })
  t.match(await bob.nextJson('im/u/bob/inbox'), { from: 'alice', body: 'hello <b>bob</b>', type: 'text' })
  await alice.shows(/alice: hello <b>bob<\/b> ✓✓/)
  t.equal(await alice.evaluate('document.querySelectorAll("#log b").length'), 0, 'a text is a text')
  t.equal(await alice.evaluate('document.querySelector("#log .tick").title'), 'delivered')
  await bob.publish('im/to/u/alice/read', '1')
  await alice.evaluate('new Promise(resolve => { const look = () => { if (document.querySelector("#log .tick.read") !== null) resolve(); else requestAnimationFrame(look) }; look() })')
  t.equal(await alice.evaluate('document.querySelector("#log .tick").title'), 'read')

  await bob.publish('im/to/u/alice', 'and back')
  await alice.shows(/bob: and back/)

  const carol = await browser.open(`${origin}/examples/browser.html`)
  await signIn(carol, server, 'carol')
  await fill(carol, 'begin', { with: 'alice' })
  await fill(carol, 'send', { text: 'from another page' })
  await alice.shows(/carol \(1\)/)
  t.notMatch(await alice.evaluate('document.getElementById("log").innerText'), /another page/, 'another conversation is open')
  await alice.evaluate('[...document.querySelectorAll("#list button")].find(button => button.textContent.startsWith("carol")).click()')
  await alice.shows(/carol: from another page/)
  await carol.shows(/from another page ✓✓/)

  await bob.result('blocks.add', { user: 'carol' })
  await fill(carol, 'begin', { with: 'bob' })
  await fill(carol, 'send', { text: 'psst' })
  await carol.shows(/carol: psst \(.+\)/)
})

await t.test('what is typed while the server is away is sent once when it is back', { timeout: 170_000 }, async t => {
  if (!requireTool(t, 'chromium')) return
  const origin = await serve(t)
  const server = await startServer(t, { data: `${t.testdir()}/away`, config: { mqtt: { ws: { origins: [origin] } } } })
  const page = await (await chromium(t)).open(`${origin}/examples/browser.html`)
  await signIn(page, server, 'alice')
  await fill(page, 'begin', { with: 'bob' })
  await fill(page, 'send', { text: 'before' })
  await page.shows(/before ✓/)
  await server.kill9()
  await page.shows(/trying again/)
  await fill(page, 'send', { text: 'meanwhile' })
  await page.shows(/meanwhile …/)
  await server.restart()
  await page.shows(/connected as alice/)
  await page.shows(/meanwhile ✓/)
  const bob = await device(t, server.url, 'bob')
  const { messages } = await bob.result<{ messages: Array<{ body: string }> }>('messages.history', { with: 'alice' })
  t.strictSame(messages.map(({ body }) => body), ['before', 'meanwhile'])
})

await t.test('a page of another origin is not let in', { timeout: 170_000 }, async t => {
  if (!requireTool(t, 'chromium')) return
  const origin = await serve(t)
  const server = await startServer(t, { data: `${t.testdir()}/other` })
  const page = await (await chromium(t)).open(`${origin}/examples/browser.html`)
  await fill(page, 'sign-in', { url: server.wsUrl, user: 'alice' })
  await page.shows(/trying again/)
  t.match(await page.evaluate('document.getElementById("state").textContent'), /trying again/)
})
