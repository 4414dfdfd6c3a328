/** Sockets that never sign in: they are counted, timed out, and take nothing from the others. */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { within } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { startServer, type Server } from '../support/server.ts'

const refusedUpgrade = 'GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
const slowHeaders = 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: '
const keptAlive = 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'

/** A socket that says `text` and never closes its own end. */
function hold (port: number, text: string): { socket: Socket, closed: Promise<unknown> } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  // A reset is one of the ways in which the server ends it.
  socket.on('error', () => { socket.destroy() })
  socket.on('data', () => { /* read and forgotten */ })
  if (text !== '') socket.write(text)
  const closed = new Promise(resolve => { for (const event of ['end', 'close']) socket.once(event, resolve) })
  return { socket, closed }
}

/** The open sockets of the server, as the system counts them. */
function sockets (pid: number): number { return readdirSync(`/proc/${pid}/fd`).length }

async function until (what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

await t.test('every kind of socket that does not sign in is closed, and its descriptor comes back', async t => {
  const server = await startServer(t, { config: { mqtt: { limits: { connectTimeoutMs: 1000 } } } })
  const before = sockets(server.pid)
  const kinds: Array<[string, number, string]> = [
    ['refused upgrade', server.httpPort, refusedUpgrade],
    ['silent HTTP', server.httpPort, ''],
    ['slow headers', server.httpPort, slowHeaders],
    ['kept alive', server.httpPort, keptAlive],
    ['silent MQTT', server.mqttPort, ''],
    ['an upgrade without CONNECT', server.httpPort, refusedUpgrade.replace('/nothing', '/mqtt').replace('\r\n\r\n', '\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n')]
  ]
  await Promise.all(kinds.map(async ([name, port, text]) => {
    const held = Array.from({ length: 10 }, () => hold(port, text))
    t.teardown(() => { for (const { socket } of held) socket.destroy() })
    await within(Promise.all(held.map(async ({ closed }) => { await closed })), 15_000, `the end of: ${name}`)
  }))
  // The clients have not closed their ends: the descriptors must come back all the same.
  await until('the descriptors are back', () => sockets(server.pid) <= before + 2)
  t.pass('all are back')
})

for (const nofile of [400]) {
  await t.test(`thousands of sockets from one address, ${nofile} descriptors`, async t => {
    const server = await startServer(t, {
      config: { plugins: [], mqtt: { limits: { connectTimeoutMs: 2000 } } },
      wrapper: ['prlimit', `--nofile=${nofile}:${nofile}`]
    })
    const alice = await device(t, server.url, 'alice')
    const bob = await device(t, server.url, 'bob')
    await bob.subscribe('im/u/bob/#')
    const before = { descriptors: sockets(server.pid), rss: server.rssBytes() }
    const all: Socket[] = []
    t.teardown(() => { for (const socket of all) socket.destroy() })
    // Large messages: the store has to open new files while this goes on.
    for (let round = 0; round < 10; round++) {
      await attack(t, server, all)
      for (let i = 0; i < 15; i++) {
        await alice.publish('im/to/u/bob', `${round}-${i} ${'x'.repeat(60_000)}`)
        await bob.next('im/u/bob/inbox')
      }
    }
    t.match(server.logs(), /too many connections/)
    // Somebody new gets in although the attacker's sockets are still open.
    const carol = await device(t, server.url, 'carol')
    await carol.publish('im/to/u/bob', 'hello')
    await bob.next('im/u/bob/inbox')
    await until('the descriptors are back', () => sockets(server.pid) <= before.descriptors + 20)
    t.ok(server.running())
    t.ok(server.rssBytes() < before.rss + 150_000_000, `memory: ${before.rss} before, ${server.rssBytes()} now`)
    t.equal((await fetch(`http://127.0.0.1:${server.httpPort}/readyz`)).status, 200)
  })
}

async function attack (t: Test, { httpPort, mqttPort }: Server, all: Socket[]): Promise<void> {
  const kinds: Array<[number, string]> = [[httpPort, refusedUpgrade], [httpPort, ''], [httpPort, slowHeaders], [mqttPort, '']]
  const more = Array.from({ length: 200 }, (_, i) => hold(...kinds[i % kinds.length] as [number, string]).socket)
  all.push(...more)
  await within(Promise.all(more.map(async socket => { if (socket.connecting) await Promise.race([once(socket, 'connect'), once(socket, 'close')]) })), 15_000, 'the attack')
}
