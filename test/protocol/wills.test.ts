/** Wills of both versions: when they are sent, what of them is sent, and that a restart of the server forgets none. */
import { randomUUID } from 'node:crypto'
import { generate } from 'mqtt-packet'
import type { IConnectPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { startOrdinary } from '../support/ordinary-broker.ts'
import { messagesUntil } from '../support/ordinary-flows.ts'
import { connectPacket, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'

const server = await startOrdinary(t)
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `wills-${run}-${name}-${++number}`

async function connect (t: Test, options: RawConnect): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.port, { user: 'conf', ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

function willOn (topic: string, payload: string, willDelayInterval = 0): NonNullable<IConnectPacket['will']> {
  return { topic, payload: Buffer.from(payload), qos: 1, retain: false, ...willDelayInterval > 0 && { properties: { willDelayInterval } } }
}

/** What came of the wills of this root, up to now. */
async function heard (watcher: RawClient, root: string): Promise<string[]> {
  await watcher.publish(`${root}/end`, 'end')
  return (await messagesUntil(watcher, 'end')).map(packet => packet.payload.toString())
}

for (const version of [4, 5] as const) {
  await t.test(`a clean session that is taken over leaves its will once, version ${version}`, async t => {
    const root = fresh('over')
    const clientId = fresh('c')
    const watcher = await connect(t, { version })
    await watcher.subscribe(`${root}/#`, 1)
    const first = await connect(t, { version, clientId, will: willOn(`${root}/w`, 'first') })
    const second = await connect(t, { version, clientId, will: willOn(`${root}/w`, 'second') })
    await within(first.closed, 10_000, 'the close')
    t.strictSame(await heard(watcher, root), ['first'], '[MQTT-3.1.2-8], of the one that is over and of no other')
    const third = await connect(t, { version, clientId })
    await within(second.closed, 10_000, 'the close')
    t.strictSame(await heard(watcher, root), ['second'])
    third.cut()
    await third.closed
    t.strictSame(await heard(watcher, root), [], 'the third one had none')
  })

  await t.test(`the will comes before what the next connection says, version ${version}`, async t => {
    const root = fresh('order')
    const clientId = fresh('c')
    const watcher = await connect(t, { version })
    await watcher.subscribe(`${root}/#`, 1)
    const expected: string[] = []
    for (let i = 0; i < 10; i++) {
      const next = await RawClient.open(t, server.port, { version })
      const hello = connectPacket({ version, user: 'conf', clientId, will: willOn(`${root}/w`, `will ${i}`) })
      // In one write: whatever is slow about a will, the publish is not.
      const word: Packet = { cmd: 'publish', topic: `${root}/w`, payload: `word ${i}`, qos: 1, messageId: 1, dup: false, retain: false }
      next.write(Buffer.concat([hello, word].map(packet => generate(packet, { protocolVersion: version }))))
      await next.packets.take(packet => packet.cmd === 'puback')
      expected.push(...i > 0 ? [`will ${i - 1}`] : [], `word ${i}`)
    }
    t.strictSame(await heard(watcher, root), expected)
  })

  await t.test(`connections that come all at once leave one will each, but for the last, version ${version}`, async t => {
    const root = fresh('race')
    const clientId = fresh('c')
    const watcher = await connect(t, { version })
    await watcher.subscribe(`${root}/#`, 1)
    const names = ['a', 'b', 'c', 'd', 'e']
    const clients = await Promise.all(names.map(() => RawClient.open(t, server.port, { version })))
    let last = ''
    await Promise.all(clients.map(async (client, i) => {
      const connack = await client.hello({ user: 'conf', clientId, will: willOn(`${root}/w`, names[i] as string) })
      t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
      last = names[i] as string
    }))
    const left = await heard(watcher, root)
    t.strictSame([...left].sort(), names.filter(name => name !== last), 'each once')
  })

  await t.test(`a session that is kept and taken over leaves its will once, version ${version}`, async t => {
    const root = fresh('kept')
    const clientId = fresh('c')
    const watcher = await connect(t, { version })
    await watcher.subscribe(`${root}/#`, 1)
    const kept: RawConnect = { version, clientId, clean: false, properties: { sessionExpiryInterval: 1000 } }
    const first = await connect(t, { ...kept, will: willOn(`${root}/w`, 'first') })
    await first.subscribe(`${root}/own`, 1)
    const second = await connect(t, { ...kept, will: willOn(`${root}/w`, 'second') })
    t.strictSame(await heard(watcher, root), ['first'])
    await second.disconnect()
    t.strictSame(await heard(watcher, root), [], '[MQTT-3.1.2-10]')
  })
}

interface Case { name: string, delay: number, expiry: number, next?: { clean: boolean }, expected: string[] }

const takeovers: Case[] = [
  { name: 'no delay, the session goes on', delay: 0, expiry: 1000, next: { clean: false }, expected: ['will'] },
  { name: 'a delay, the session goes on', delay: 1000, expiry: 1000, next: { clean: false }, expected: [] },
  { name: 'a delay, the session is begun anew', delay: 1000, expiry: 1000, next: { clean: true }, expected: ['will'] },
  { name: 'a delay, the session was not to be kept', delay: 1000, expiry: 0, next: { clean: false }, expected: ['will'] }
]

for (const { name, delay, expiry, next, expected } of takeovers) {
  await t.test(`taken over: ${name}`, async t => {
    const root = fresh('case')
    const clientId = fresh('c')
    const watcher = await connect(t, { version: 5 })
    await watcher.subscribe(`${root}/#`, 1)
    await connect(t, { version: 5, clientId, clean: false, properties: { sessionExpiryInterval: expiry }, will: willOn(`${root}/w`, 'will', delay) })
    const second = await connect(t, { version: 5, clientId, clean: next?.clean ?? false, properties: { sessionExpiryInterval: 1000 } })
    t.strictSame(await heard(watcher, root), expected, '[MQTT-3.1.3-9], [MQTT-3.1.2-8]')
    await second.disconnect()
    t.strictSame(await heard(watcher, root), [])
  })
}

await t.test('what is sent of a will that waited: its message, and nothing of the delay', async t => {
  const root = fresh('properties')
  const watcher = await connect(t, { version: 5 })
  await watcher.subscribe(`${root}/#`, 2)
  const properties = { payloadFormatIndicator: true, contentType: 'text/plain', responseTopic: `${root}/answer`, correlationData: Buffer.from([0, 255]), userProperties: { a: ['1', '2'], b: '3' }, messageExpiryInterval: 100 }
  const will = { ...willOn(`${root}/w`, 'will'), qos: 2 as const, properties: { ...properties, willDelayInterval: 1 } }
  const client = await connect(t, { version: 5, clean: false, clientId: fresh('c'), properties: { sessionExpiryInterval: 1000 }, will })
  client.cut()
  const got = await watcher.next(`${root}/w`)
  t.equal(got.qos, 2)
  const { userProperties, ...rest } = got.properties ?? {}
  t.strictSame({ ...userProperties }, { a: ['1', '2'], b: '3' })
  const { userProperties: _, ...expected } = properties
  t.strictSame(rest, expected, 'the interval of its life begins when it is sent [3.1.3.2.4]')
})

await t.test('no will reaches its own client when that asked for none of its own', async t => {
  const root = fresh('local')
  const clientId = fresh('c')
  const kept: RawConnect = { version: 5, clientId, clean: false, properties: { sessionExpiryInterval: 1000 } }
  const first = await connect(t, { ...kept, will: willOn(`${root}/w`, 'will') })
  first.send({ cmd: 'subscribe', messageId: 5, subscriptions: [{ topic: `${root}/w`, qos: 1, nl: true }, { topic: `${root}/end`, qos: 1 }] })
  await first.packets.take(packet => packet.cmd === 'suback')
  first.cut()
  await first.closed
  const second = await connect(t, kept)
  t.strictSame(await heard(second, root), [], '[MQTT-3.8.3-3]')
})

await t.test('a will that is retained stays, and an empty one clears', async t => {
  const topic = fresh('retained')
  const lose = async (payload: string, qos: 0 | 1 | 2): Promise<void> => {
    const watcher = await connect(t, { version: 4 })
    await watcher.subscribe(topic, 1)
    if (payload === '') await watcher.next(topic)
    const client = await connect(t, { version: 4, will: { topic, payload: Buffer.from(payload), qos, retain: true } })
    client.cut()
    t.equal((await watcher.next(topic)).payload.toString(), payload)
    await watcher.disconnect()
  }
  for (const qos of [0, 1, 2] as const) {
    await lose(`gone ${qos}`, qos)
    const late = await connect(t, { version: 4 })
    await late.subscribe(topic, 1)
    t.match(await late.next(topic), { payload: Buffer.from(`gone ${qos}`), retain: true }, '[MQTT-3.1.2-17]')
    await lose('', qos)
  }
})
