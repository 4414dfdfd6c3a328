/** A server that has one core: V8 is told so while it runs, and goes on through many collections. */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const text = 'one core: the event loop marks garbage itself'
const messages = 400
const bytes = 60_000

await t.test('with all cores nothing is changed', async t => {
  if (availableParallelism() === 1) return t.comment('this machine has one core')
  const server = await startServer(t)
  t.notOk(server.logs().includes(text))
  await server.stop()
})

await t.test('with one core it says so, and everything arrives', async t => {
  if (!requireTool(t, 'taskset')) return
  // A small heap: the old generation is collected again and again.
  const server = await startServer(t, {
    wrapper: ['taskset', '-c', '0'],
    env: { NODE_OPTIONS: '--max-old-space-size=96' },
    config: { messages: { maxBytes: 250_000 }, plugins: { 'rate-limit': { enabled: false } } }
  })
  t.ok(server.logs().includes(text))
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  const sent = Array.from({ length: messages }, (_, i) => `${i} ${randomBytes(bytes / 2).toString('hex')}`)
  const received = (async () => {
    const bodies: string[] = []
    while (bodies.length < messages) bodies.push((JSON.parse((await bob.next()).text) as { body: string }).body)
    return bodies
  })()
  for (const one of sent) await alice.publish('im/to/u/bob', one)
  t.same((await received).map(body => body.length), sent.map(body => body.length))
  t.same((await received).filter((body, i) => body !== sent[i]), [])
  t.equal(await server.stop() < 10_000, true)
})
