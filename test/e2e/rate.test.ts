/** A sender above its rate is slowed, not refused: nothing of what it sends is lost, and nobody else waits. */
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { requireMosquitto } from '../support/mosquitto.ts'
import { RawClient } from '../support/raw-client.ts'
import { run, startServer } from '../support/server.ts'

interface History { messages: Array<{ body: string }>, head: number }

await t.test('seq 1000 | mosquitto_pub, as shipped: all of them are stored, in order', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t)
  const lines = Array.from({ length: 1_000 }, (_, i) => String(i + 1))
  const sent = run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(server.mqttPort), '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-l'], { input: lines.join('\n') + '\n' })
  const carol = await device(t, server.url, 'carol')
  await carol.publish('im/to/u/bob', 'not slowed by alice')
  t.equal((await sent).code, 0)
  const bob = await device(t, server.url, 'bob')
  const bodies: string[] = []
  for (let after = 0; after < 1_000;) {
    const page = await bob.result<History>('messages.history', { with: 'alice', after, limit: 200 })
    bodies.push(...page.messages.map(message => message.body))
    if (page.messages.length === 0) break
    after += page.messages.length
  }
  t.strictSame(bodies, lines)
})

await t.test('QoS 0 is slowed like the rest, and a held connection is not taken for dead', async t => {
  const server = await startServer(t, { config: { plugins: { 'rate-limit': { messagesPerSecond: 20, burst: 5 } } } })
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', keepaliveSeconds: 1 })
  for (let i = 1; i <= 45; i++) alice.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: `${i}`, qos: 0, dup: false, retain: false })
  // Two seconds, of which the keep alive allows one and a half without a packet.
  await alice.publish('im/to/u/bob', 'last')
  const bob = await device(t, server.url, 'bob')
  const { messages } = await bob.result<History>('messages.history', { with: 'alice', limit: 100 })
  t.strictSame(messages.map(message => message.body), [...Array.from({ length: 45 }, (_, i) => String(i + 1)), 'last'])
})

await t.test('a server that stops while senders wait stops at once, and has what it acknowledged', async t => {
  const server = await startServer(t, { config: { plugins: { 'rate-limit': { messagesPerSecond: 10, burst: 5 } } } })
  const acknowledged: number[] = []
  for (const user of ['alice', 'carol']) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user })
    const bodies = Array.from({ length: 200 }, (_, i) => String(i + 1))
    for (const payload of bodies) client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload, qos: 1, dup: false, retain: false, messageId: Number(payload) })
    for (let i = 0; i < 7; i++) await client.packets.take(one => one.cmd === 'puback', 5_000, 'puback')
    acknowledged.push(7)
    // One of them has gone; what it sent waits all the same.
    if (user === 'carol') client.cut()
  }
  await server.stop()
  await server.restart()
  const bob = await device(t, server.url, 'bob')
  for (const [i, user] of ['alice', 'carol'].entries()) {
    const { messages } = await bob.result<History>('messages.history', { with: user, limit: 200 })
    const bodies = messages.map(message => message.body)
    t.ok(bodies.length >= (acknowledged[i] as number) && bodies.length < 200, `${bodies.length} of ${user}`)
    t.strictSame(bodies, bodies.map((_, at) => String(at + 1)), 'the first ones, in order')
  }
})

for (const qos of [1, 2] as const) {
  await t.test(`a sender that is cut off twice while it waits: everything once, in order (QoS ${qos})`, async t => {
    const server = await startServer(t, { config: { plugins: { 'rate-limit': { messagesPerSecond: 20, burst: 5 } } } })
    const open = async (): Promise<RawClient> => (await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'phone', clean: false })).client
    const bodies = Array.from({ length: 40 }, (_, i) => String(i + 1))
    const left = new Set(bodies)
    // In one piece: what the server has not read when the connection is cut it may store twice (ADR 4).
    const send = (client: RawClient, dup: boolean): void => {
      client.stream.cork()
      for (const payload of left) client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload, qos, dup, retain: false, messageId: Number(payload) })
      client.stream.uncork()
    }
    const answer = async (client: RawClient): Promise<void> => {
      const packet = await client.packets.take(one => one.cmd === (qos === 1 ? 'puback' : 'pubrec'), 15_000, 'an answer')
      const { messageId } = packet as { messageId: number }
      left.delete(String(messageId))
      if (qos === 2) client.send({ cmd: 'pubrel', messageId })
    }
    let client = await open()
    send(client, false)
    for (let i = 0; i < 7; i++) await answer(client)
    for (let i = 0; i < 2; i++) {
      client.cut()
      client = await open()
      send(client, true)
      // Read by the server, the first of them.
      if (i === 0) await answer(client)
    }
    while (left.size > 0) await answer(client)
    const bob = await device(t, server.url, 'bob')
    const { messages } = await bob.result<History>('messages.history', { with: 'alice', limit: 200 })
    t.strictSame(messages.map(message => message.body), bodies)
  })
}
