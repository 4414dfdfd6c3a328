/** The compact form (topics.md): beside each device that is sent whole envelopes one that asked for the compact form hears the same. */
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { expand } from '../../examples/compact.ts'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)
let number = 0

interface Reader { client: RawClient, topics: Map<number, string> }

async function open (t: Test, user: string, filters: string[], options: RawConnect = {}): Promise<Reader> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user, clientId: `c${++number}`, ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  if (filters.length > 0) t.notOk((await client.subscribe(filters)).some(code => code >= 0x80), 'granted')
  return { client, topics: new Map() }
}

/** Topic (by its alias, where it has one) and payload of a packet. */
function heard ({ topics }: Reader, { topic, payload, properties }: IPublishPacket): [topic: string, payload: string] {
  const alias = properties?.topicAlias
  if (alias !== undefined && topic !== '') topics.set(alias, topic)
  return [alias === undefined ? topic : topics.get(alias) ?? '', payload.toString()]
}

type Heard = Record<string, unknown>

/** What the reader hears, by topic and number, until the message `last`. */
async function hear (reader: Reader, read: (topic: string, payload: string) => Heard, isLast: (one: Heard) => boolean): Promise<Map<string, Heard>> {
  const all = new Map<string, Heard>()
  for (;;) {
    const [topic, payload] = heard(reader, await reader.client.next())
    const one = read(topic, payload)
    all.set(`${topic} ${String(one['conv'])} ${String(one['eseq'] ?? one['seq'])}`, one)
    if (isLast(one)) return all
  }
}

const whole = (_: string, payload: string): Heard => JSON.parse(payload) as Heard

/** Without a cid that the server made. */
function told ({ cid, ...rest }: Heard): Heard { return typeof cid === 'string' && !cid.startsWith('~') && cid !== rest['id'] ? { ...rest, cid } : rest }

await t.test('every kind of message and event, on devices of the sender and of receivers, by 3.1.1 and by 5 with topic aliases', async t => {
  const aliases: RawConnect = { version: 5, properties: { topicAliasMaximum: 8 } }
  const sender = (await open(t, 'alice', [])).client
  const rpc = async (client: RawClient, user: string, method: string, params: object): Promise<void> => {
    const rid = `r${++number}`
    await client.publish(`im/rpc/${method}`, JSON.stringify({ rid, ...params }))
    t.match(json(await client.next(`im/u/${user}/rpc/${rid}`)), { ok: true }, method)
  }
  const devices = async (user: string, filters: string[]): Promise<[plain: Reader, ...compact: Reader[]]> => [
    await open(t, user, filters),
    await open(t, user, [`im/u/${user}/compact`, ...filters]),
    await open(t, user, [...filters, `im/u/${user}/compact`], aliases)
  ]
  // Alice's devices read no group: her own words there come on the inbox.
  const ofAlice = await devices('alice', ['im/u/alice/inbox', 'im/u/alice/event'])
  const ofBob = await devices('bob', ['im/u/bob/inbox', 'im/u/bob/event', 'im/g/+'])
  const bob = (await open(t, 'bob', [])).client
  const witness = (await open(t, 'alice', ['im/u/alice/event'])).client
  await rpc(sender, 'alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  const published: Array<[topic: string, payload: string | Buffer, options?: Partial<IPublishPacket>]> = [
    ['im/to/u/bob', 'hi'],
    ['im/to/u/bob', 'quotes " and \\ and "\\", 你好 🐝'],
    ['im/to/u/bob', Buffer.from([0xff, 0xfe, 0])],
    ['im/to/u/bob', '{"cid":"c-1","body":{"a":[1,"]}"]},"meta":{"b":null}}'],
    ['im/to/u/bob', '{"cid":"\\"","type":"image","body":"x","replyTo":1,"mentions":["bob"],"meta":{}}'],
    ['im/to/u/bob', '{"body":42}'],
    ['im/to/u/bob', 'at QoS 0', { qos: 0 }],
    ['im/to/u/alice', 'to myself'],
    ['im/to/g/dev', 'to all'],
    ['im/to/g/dev', '{"cid":"c-2","body":[true],"replyTo":"0abc"}'],
    ['im/to/u/bob', 'x'.repeat(20_000)]
  ]
  for (const [topic, payload, options] of published) {
    if (options?.qos === 0) sender.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false })
    else await sender.publish(topic, payload)
  }
  await bob.publish('im/to/u/alice', '{"body":"an answer","replyTo":1}')
  await bob.publish('im/to/g/dev', 'to all, too')
  await sender.publish('im/to/u/bob/read', '9')
  await sender.publish('im/to/g/dev/read', '4')
  await rpc(sender, 'alice', 'groups.add', { gid: 'dev', users: ['carol'] })
  await rpc(sender, 'alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' })
  // Receipts are merged, and come later: what one device of a user has been sent the others have been, too.
  const conv = 'd:alice:bob'
  for (const wanted of [{ kind: 'delivered', by: 'bob', conv }, { kind: 'read', by: 'bob', conv }, { kind: 'read', by: 'alice', conv }, { kind: 'read', by: 'alice', conv: 'g:dev' }]) {
    await witness.packets.take(packet => {
      const { kind, by, conv } = packet.cmd === 'publish' ? json(packet) : {}
      return kind === wanted.kind && by === wanted.by && conv === wanted.conv
    }, 15_000, JSON.stringify(wanted))
  }
  const lastBody = 'the last one'
  for (const [[plain, ...compact], user, other] of [[ofAlice, 'alice', bob], [ofBob, 'bob', sender]] as const) {
    await other.publish(`im/to/u/${user}`, `{"cid":"end","body":"${lastBody}"}`)
    const last = (one: Heard): boolean => one['body'] === lastBody
    const expected = await hear(plain, whole, last)
    const payloads: string[] = []
    for (const device of compact) {
      const got = await hear(device, (topic, payload) => {
        payloads.push(payload)
        return expand(topic, payload)
      }, last)
      for (const [at, one] of expected) {
        // A newer receipt may have taken the place of an older one on its way to one of the devices.
        if (one['eseq'] === undefined || got.has(at)) t.strictSame(got.get(at), told(one), at)
      }
      const kinds = [...got.values()].map(({ type, kind }) => String(type ?? kind))
      const kindsOf = user === 'alice' ? ['text', 'binary', 'json', 'image', 'read', 'delivered'] : ['text', 'binary', 'json', 'image', 'system', 'group']
      for (const kind of kindsOf) t.ok(kinds.includes(kind), `${user}: ${kind}`)
    }
    t.ok(payloads.filter(payload => payload.startsWith('[')).length > payloads.length / 2, 'and they were not whole')
  }
})

await t.test('a delivery of a hundred bytes is less than 70 % of a whole one', async t => {
  const sender = (await open(t, 'ann', [])).client
  const plain = (await open(t, 'ben', ['im/u/ben/inbox'])).client
  const compact = await open(t, 'ben', ['im/u/ben/inbox', 'im/u/ben/compact'], { version: 5, properties: { topicAliasMaximum: 1 } })
  const bytes = [plain, compact.client].map(client => {
    const count = { all: 0 }
    client.stream.on('data', (chunk: Buffer) => { count.all += chunk.length })
    return count
  }) as [{ all: number }, { all: number }]
  for (let i = 0; i < 20; i++) await sender.publish('im/to/u/ben', String(i).padEnd(100, 'x'))
  for (const client of [plain, compact.client]) for (let i = 0; i < 20; i++) await client.next()
  t.ok(bytes[1].all < bytes[0].all * 0.6, `${bytes[1].all} of ${bytes[0].all}`)
})

await t.test('a kept session keeps it, from its first packet on, until it unsubscribes', async t => {
  const kept: RawConnect = { clientId: 'kept', clean: false }
  const sender = (await open(t, 'dan', [])).client
  const before = await open(t, 'eve', ['im/u/eve/inbox', 'im/u/eve/compact'], kept)
  await before.client.disconnect()
  await sender.publish('im/to/u/eve', 'one')
  let { client } = await open(t, 'eve', [], kept)
  t.match((await client.next()).payload.toString(), /^\[1,"\w{20}","dan","one"\]$/)
  client.cut()
  await server.stop()
  await server.restart()
  const again = (await open(t, 'dan', [])).client
  client = (await open(t, 'eve', [], kept)).client
  await again.publish('im/to/u/eve', 'two')
  t.match((await client.next()).payload.toString(), /^\[2,"\w{20}","dan","two"\]$/)
  client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['im/u/eve/compact'] })
  await client.packets.take(packet => packet.cmd === 'unsuback')
  await again.publish('im/to/u/eve', 'three')
  t.match(json(await client.next()), { v: 1, seq: 3, body: 'three' })
})

await t.test('it is asked for by its name alone, and for oneself', async t => {
  const { client } = await open(t, 'fay', ['im/u/fay/#', 'im/u/fay/+'])
  t.strictSame(await client.subscribe(['im/u/dan/compact', 'im/u/fay/compact/x', 'im/u/+/compact']), [0x80, 0x80, 0x80])
  const puback = client.publish('im/u/fay/compact', 'x')
  t.match(json(await client.next('im/u/fay/notice')), { code: 'forbidden' })
  await puback
  await client.publish('im/to/u/fay', 'hi')
  t.match(json(await client.next('im/u/fay/inbox')), { v: 1, body: 'hi' }, 'whole')
})

await t.test('a message that fits a client in its compact form alone is delivered', async t => {
  const sender = (await open(t, 'gus', [])).client
  const { client } = await open(t, 'hal', ['im/u/hal/compact', 'im/u/hal/inbox'], { version: 5, properties: { maximumPacketSize: 120 } })
  await sender.publish('im/to/u/hal', 'x'.repeat(50))
  t.match((await client.next()).payload.toString(), /"gus","x{50}"\]$/)
})
