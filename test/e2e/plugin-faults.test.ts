import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

/** A plugin of plain JavaScript: what a text message says is done by `onStored`. */
const clumsy = `
import { connect } from 'node:net'
const deeds = {
  rejects: async () => { throw new Error('an async listener') },
  bare: () => { Promise.reject(new Error('a bare rejection')) },
  nothing: () => { Promise.reject(undefined) },
  nasty: () => Promise.reject({ get message () { throw new Error('x') }, toString () { throw new Error('y') } }),
  timer: () => { setTimeout(() => { throw new Error('in a timer') }, 1) },
  emitter: () => { connect(1, '127.0.0.1') },
  poisoned: (context) => { setTimeout(() => { context.log.info({ get x () { throw new Error('a field') } }, 'x') }, 1) }
}
export default {
  name: 'clumsy', description: 'x', timeoutMs: 50, onFailure: 'pass',
  options: { safeParse: data => ({ success: true, data }) },
  start: (options, context) => ({ onStored: ({ body }) => deeds[body]?.(context) })
}`

async function logged (server: Server, text: string): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!server.logs().includes(text)) {
    if (Date.now() > deadline || !server.running()) throw new Error(`no '${text}' in the log`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

async function start (t: Test, env: Record<string, string> = {}): Promise<Server> {
  const path = join(t.testdir(), '..', `clumsy-${process.pid}-${t.name.length}.mjs`)
  writeFileSync(path, clumsy)
  t.teardown(() => { rmSync(path) })
  return await startServer(t, { config: { plugins: { [path]: {} } }, env })
}

await t.test('nothing that a plugin does on its own time ends the server', async t => {
  const server = await start(t)
  const alice = await device(t, server.url, 'alice')
  const logs = new Map([
    ['rejects', 'an async listener'],
    ['bare', 'a bare rejection'],
    ['nothing', '"message":"undefined"'],
    ['nasty', 'something that cannot be shown was thrown'],
    ['timer', 'in a timer'],
    ['emitter', 'ECONNREFUSED'],
    ['poisoned', 'could not be logged']
  ])
  for (const [deed, text] of logs) {
    t.match(await alice.publish('im/to/u/bob', deed), { error: undefined })
    await logged(server, text)
    t.match(server.logs().split('\n').find(line => line.includes(text)), /"plugin":"clumsy"/, `${deed}: with the plugin's name`)
  }
  t.match(server.logs().split('\n').find(line => line.includes('an async listener')), /clumsy.*\.mjs:\d+/, 'with the stack')
  t.match(await alice.publish('im/to/u/bob', 'still here'), { error: undefined })
  await server.stop()
})

await t.test('after an exception of anything else it stops with 70, and has everything when it starts again', async t => {
  const thrower = 'process.once("SIGUSR2", () => { throw new Error("not of a plugin") })'
  const server = await start(t, { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(thrower)}` })
  const alice = await device(t, server.url, 'alice')
  const bob = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  await bob.subscribe('im/u/bob/inbox')
  const published = ['1', '2', '3'].map(async text => await alice.publish('im/to/u/bob', text))
  await Promise.all(published)
  process.kill(server.pid, 'SIGUSR2')
  t.equal(await server.ended(), 70)
  t.match(server.logs(), /"level":60.*not of a plugin.*an exception that nobody caught: the server stops/)
  t.match(server.logs(), 'an exception that nobody caught: stopping')
  await server.restart()
  const back = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  t.equal(back.sessionPresent, true)
  const alice2 = await device(t, server.url, 'alice')
  const { messages } = await alice2.result<{ messages: unknown[] }>('messages.history', { conv: 'd:alice:bob' })
  t.equal(messages.length, 3)
  await server.stop()
})
