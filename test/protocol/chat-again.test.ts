/** What a kept session was sent on chat topics and has not acknowledged: it comes again, with DUP and its packet id, until it is over [MQTT-4.4.0-1]. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { json, RawClient, type RawConnect, type Version } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)
const run = randomUUID().slice(0, 8)
let number = 0

/** A user with a kept session, and another one who writes to him. */
async function pair (t: Test, version: Version): Promise<{ bob: (options?: RawConnect) => Promise<RawClient>, inbox: string, say: (body: string, options?: object) => Promise<void> }> {
  const user = `bob-${run}-${++number}`
  const alice = (await RawClient.connect(t, server.mqttPort, { version: 5, user: `alice-${run}-${number}` })).client
  return {
    bob: async (options = {}) => {
      const properties = { sessionExpiryInterval: 1000, ...options.properties }
      return (await RawClient.connect(t, server.mqttPort, { version, user, clientId: 'phone', clean: false, acknowledge: false, ...options, properties })).client
    },
    inbox: `im/u/${user}/inbox`,
    say: async (body, options = {}) => { await alice.publish(`im/to/u/${user}`, body, options) }
  }
}

interface Seen { body: unknown, packetId: number, dup: boolean }

async function take (client: RawClient, count: number): Promise<Seen[]> {
  const seen = []
  for (let i = 0; i < count; i++) {
    const packet = await client.next()
    seen.push({ body: json(packet)['body'], packetId: packet.messageId, dup: packet.dup })
  }
  return seen
}

async function cut (client: RawClient): Promise<void> {
  await client.ping()
  client.cut()
  await client.closed
}

function again (seen: readonly Seen[]): Seen[] { return seen.map(one => ({ ...one, dup: true })) }

async function unsubscribe (client: RawClient, filter: string): Promise<void> {
  const messageId = client.nextId()
  client.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [filter] })
  await client.packets.take(packet => packet.cmd === 'unsuback' && packet.messageId === messageId)
}

for (const version of [4, 5] as const) {
  for (const [what, leave] of [
    ['its filter was unsubscribed', async (client: RawClient, inbox: string) => { await unsubscribe(client, inbox) }],
    ['its filter is at QoS 0 by then', async (client: RawClient, inbox: string) => { await client.subscribe(inbox, 0) }]
  ] as const) {
    await t.test(`also when ${what}, version ${version}`, async t => {
      const { bob, inbox, say } = await pair(t, version)
      const first = await bob()
      await first.subscribe(inbox)
      for (const body of ['1', '2', '3']) await say(body)
      const sent = await take(first, 3)
      await leave(first, inbox)
      await cut(first)
      await say('away')
      const second = await bob()
      t.strictSame(await take(second, 3), again(sent), '[MQTT-3.10.4-3]: what was begun is completed')
      second.puback(sent[0]?.packetId as number)
      await cut(second)
      const third = await bob()
      t.strictSame(await take(third, 2), again(sent.slice(1)))
      for (const { packetId } of sent.slice(1)) third.puback(packetId)
      await third.ping()
      await third.subscribe(inbox)
      await say('end')
      const bodies = (await take(third, 1)).map(({ body }) => body)
      while (bodies.at(-1) !== 'end') bodies.push((await take(third, 1))[0]?.body)
      t.strictSame(bodies.filter(body => typeof body === 'string' && /^\d$/.test(body)), [], 'and not once more')
      await cut(third)
    })
  }
}

await t.test('subscribed anew before it is acknowledged it comes once', async t => {
  const { bob, inbox, say } = await pair(t, 5)
  const first = await bob()
  await first.subscribe(inbox)
  for (const body of ['1', '2']) await say(body)
  const sent = await take(first, 2)
  await unsubscribe(first, inbox)
  await cut(first)
  const second = await bob()
  await second.subscribe(inbox)
  await say('3')
  const got = await take(second, 3)
  t.strictSame(got.slice(0, 2), again(sent))
  t.match(got[2], { body: '3', dup: false })
  second.puback(got[2]?.packetId as number)
  await cut(second)
  t.strictSame(await take(await bob(), 2), again(sent), 'its cursor waits for what is not acknowledged')
})

await t.test('what is too large for the connection that was to bring it again counts as delivered', async t => {
  const { bob, inbox, say } = await pair(t, 5)
  const first = await bob()
  await first.subscribe(inbox)
  for (const body of ['1', '2', 'x'.repeat(600), '3']) await say(body)
  const sent = await take(first, 4)
  await cut(first)
  // Room for two: what is too large comes from the log.
  const second = await bob({ acknowledge: true, properties: { receiveMaximum: 2, maximumPacketSize: 400 } })
  t.strictSame(await take(second, 3), again([sent[0], sent[1], sent[3]] as Seen[]))
  await say('4')
  t.match(await take(second, 1), [{ body: '4', dup: false }])
  await cut(second)
  const third = await bob()
  await say('end')
  t.match(await take(third, 1), [{ body: 'end', dup: false }], '[MQTT-3.1.2-25]')
})
