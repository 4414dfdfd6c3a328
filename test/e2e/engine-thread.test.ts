/** The engine in a thread of its own: what a user, an operator and a supervisor see of it. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { mainPath, run, startServer } from '../support/server.ts'

const engine = { thread: true }

await t.test('messages, refusals, requests and backlogs are as ever', async t => {
  const server = await startServer(t, { config: { engine } })
  const alice = await device(t, server.url, 'alice')
  const bob = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  await bob.subscribe(['im/u/bob/inbox', 'im/u/bob/event'])
  await alice.subscribe('im/u/alice/event')
  t.match(await alice.publish('im/to/u/bob', 'hello'), { error: undefined })
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 1, body: 'hello' })
  t.match(await alice.nextJson('im/u/alice/event'), { kind: 'delivered', seq: 1 })
  await alice.publish('im/to/g/nowhere', 'hello')
  t.match(await alice.nextJson('im/u/alice/notice'), { kind: 'reject', code: 'not_found' })
  await bob.end()
  const bodies = Array.from({ length: 500 }, (_, i) => `${i} ${'x'.repeat(1000)}`)
  await Promise.all(bodies.map(body => alice.publish('im/to/u/bob', body)))
  const back = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  const received: string[] = []
  while (received.length < bodies.length) received.push((await back.nextJson('im/u/bob/inbox')).body as string)
  t.same(received, bodies)
  t.match(await alice.result('messages.history', { with: 'bob', limit: 2 }), { messages: [{ seq: 500 }, { seq: 501 }] })
  await server.stop()
})

for (const [what, files, more] of [
  ['a store that is none', { data: { 'sabethes.json': 'nonsense' } }, {}],
  ['a plugin that is not configured rightly', { data: {} }, { plugins: { 'rate-limit': { perSecond: 'many' } } }]
] as const) {
  await t.test(`${what} is said as it is without a thread`, async t => {
    const seen: Array<{ code: number | null, text: string }> = []
    for (const thread of [false, true]) {
      const folder = t.testdir(files)
      const config = join(folder, 'sabethes.yaml')
      writeFileSync(config, JSON.stringify({ engine: { thread }, mqtt: { tcp: { port: 0 } }, http: { port: 0 }, ...more }))
      const { code, stderr } = await run(process.execPath, [mainPath, 'serve', '--config', config, '--data', join(folder, 'data')])
      seen.push({ code, text: stderr.split('\n').filter(line => line !== '' && !line.startsWith('{')).join('\n').replace(/:\d+:\d+/g, '') })
    }
    t.not(seen[0]?.code, 0)
    t.not(seen[0]?.text, '')
    t.same(seen[1], seen[0])
  })
}

await t.test('when the thread ends the server ends, and a supervisor can start it again', async t => {
  const plugin = join(t.testdir(), '..', `end-${process.pid}.mjs`)
  writeFileSync(plugin, `export default {
    name: 'end', description: 'x', timeoutMs: 50, onFailure: 'pass', options: { safeParse: data => ({ success: true, data }) },
    start: () => ({ onStored: ({ body }) => { if (body === 'end') process.exit(3) } })
  }`)
  t.teardown(() => { rmSync(plugin) })
  const server = await startServer(t, { config: { engine, plugins: { [plugin]: {} } } })
  const alice = await device(t, server.url, 'alice')
  t.match(await alice.publish('im/to/u/bob', 'kept'), { error: undefined })
  const lost = alice.publish('im/to/u/bob', 'end').catch((error: unknown) => error)
  t.equal(await server.ended(), 74)
  t.match(server.logs(), /"level":60.*the thread of the engine has ended/)
  await alice.drop()
  await lost
  await server.restart()
  const again = await device(t, server.url, 'alice')
  const { messages } = await again.result<{ messages: Array<{ body: string }> }>('messages.history', { with: 'bob' })
  t.match(messages[0], { body: 'kept' })
})
