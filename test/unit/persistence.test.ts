import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'
import t from 'tap'
import { recordsPersistence } from '../../broker/ordinary/persistence.ts'
import type { Dropped, PersistenceOptions, RecordsLike, RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { levelRecords, MemoryRecords } from '../support/ordinary-records.ts'

type Packet = Parameters<RecordsPersistence['prepare']>[1]
interface Queued { cmd: string, topic: string, payload: Buffer, qos: number, retain: boolean, dup: boolean, messageId?: number, brokerId: string, brokerCounter: number }

class Broker extends EventEmitter {
  readonly id: string
  clients: Record<string, unknown> = {}
  counter = 0
  authorizeForward: (client: { id: string }, packet: Packet) => unknown = (_client, packet) => packet
  constructor (id: string) { super(); this.id = id }
}

let brokers = 0
async function start (records: RecordsLike, options: Partial<PersistenceOptions> = {}): Promise<{ broker: Broker, persistence: RecordsPersistence }> {
  const persistence = recordsPersistence({ records, offlineQueue: 100, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 100, retainedBytes: 100_000, ...options })
  const broker = new Broker(`broker-${++brokers}`)
  await persistence.setup(broker)
  return { broker, persistence }
}

const client = (id: string) => ({ id, clean: false, conn: new EventEmitter() })
const publish = (topic: string, payload: string, more: Partial<Packet> = {}): Packet => ({ cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: false, ...more })
const list = async (stream: Readable): Promise<Queued[]> => await stream.toArray() as Queued[]
const texts = (packets: Array<{ payload: Buffer | string }>) => packets.map(packet => packet.payload.toString())

/** As Aedes goes on after authorizePublish. */
async function route ({ persistence, broker }: Awaited<ReturnType<typeof start>>, packet: Packet): Promise<Packet> {
  const named = { ...packet, brokerId: broker.id, brokerCounter: ++broker.counter }
  if (packet.retain) await persistence.storeRetained(named)
  await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic(packet.topic), named)
  return named
}

await t.test('everything is there after a restart', async t => {
  const path = `${t.testdir()}/db`
  let records = await levelRecords(path)
  let { persistence, broker } = await start(records)
  const id = 'a%2F/ü/{x}/0'
  await persistence.addSubscriptions({ id }, [{ topic: 's/+', qos: 2, nl: true, subscriptionIdentifier: 9 }, { topic: 's//#', qos: 0 }])
  await persistence.addSubscriptions({ id: 'a' }, [{ topic: 's/+', qos: 1 }])
  const publisher = client('p')
  const packet = publish('s/1', 'one', { retain: true, properties: { contentType: 'x', correlationData: Buffer.from([0, 200]) } })
  await persistence.prepare(publisher, packet)
  await route({ persistence, broker }, packet)
  await persistence.incomingStorePacket(publisher, publish('s/2', 'two', { qos: 2, messageId: 7 }))
  await persistence.putWill(client('w'), publish('s/will', 'will'))
  await persistence.destroy()
  await records.close()

  records = await levelRecords(path)
  t.teardown(async () => { await records.close() });
  ({ persistence, broker } = await start(records))
  t.strictSame(await persistence.subscriptionsByClient({ id }), [{ topic: 's/+', qos: 2, nl: true, subscriptionIdentifier: 9 }, { topic: 's//#', qos: 0 }])
  t.strictSame(persistence.queueOf(id), { size: 2, inMemory: 0 }, 'bodies stay on disk')
  const [one, two, ...none] = await list(persistence.outgoingStream(client(id)))
  t.match(one, { topic: 's/1', qos: 1, retain: false, dup: false })
  t.equal(one?.payload.toString(), 'one')
  t.match(two, { topic: 's/2', qos: 2 })
  t.strictSame(none, [])
  const [retained] = await list(persistence.createRetainedStream('s/+'))
  t.match(retained, { topic: 's/1', retain: true, properties: { contentType: 'x' } })
  t.strictSame((retained as unknown as Packet).properties?.['correlationData'], Buffer.from([0, 200]))
  t.match(await persistence.incomingGetPacket(publisher, publish('', '', { messageId: 7 })), { messageId: 7 })
  const wills = await list(persistence.streamWill({ [broker.id]: 1 }))
  t.match(wills, [{ topic: 's/will', clientId: 'w' }], 'of the broker that is gone')
  await persistence.cleanSubscriptions({ id })
  t.same([...persistence.sessions()].sort(), ['a', 'p'])
  await persistence.destroy()
})

await t.test('what was prepared is on disk, and a failure leaves nothing behind', async t => {
  const records = new MemoryRecords()
  const { persistence, broker } = await start(records)
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  const rows = records.rows.size
  const written = persistence.prepare(client('p'), publish('a', 'x', { retain: true }))
  t.equal(records.rows.size, rows, 'not yet')
  await written
  t.equal(records.rows.size, rows + 2, 'a queue entry and the retained message')
  t.equal(records.synced, 2)
  records.failure = new Error('disk full')
  await t.rejects(async () => { await persistence.prepare(client('p'), publish('a', 'y', { retain: true })) }, { message: 'disk full' })
  await t.rejects(persistence.incomingStorePacket(client('p'), publish('a', 'z', { qos: 2, messageId: 1 })), { message: 'disk full' })
  await t.rejects(persistence.incomingGetPacket(client('p'), publish('', '', { messageId: 1 })), 'the client may try again')
  t.strictSame(texts(await list(persistence.createRetainedStream('a'))), ['x'])
  t.equal(persistence.queueOf('c').size, 1)
  await route({ persistence, broker }, publish('b', 'later', { qos: 1, retain: true }))
  records.failure = undefined
  await persistence.prepare(client('p'), publish('c', 'w'))
  t.ok(records.rows.has('r/b'), 'what nobody waited for is written with the next batch')
})

await t.test('requests during a write are one batch, and are answered in order', async t => {
  const records = new MemoryRecords()
  const { persistence } = await start(records)
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: 'stored', qos: 1 }])
  const before = records.writes
  let open = () => {}
  records.hold = new Promise(resolve => { open = resolve })
  const publisher = client('p')
  const order: number[] = []
  const first = persistence.prepare(publisher, publish('stored', 'x'))?.then(() => { order.push(0) })
  await new Promise(resolve => { setImmediate(resolve) })
  const rest = Array.from({ length: 50 }, (_, i) => persistence.prepare(publisher, publish(i % 2 === 0 ? 'elsewhere' : 'stored', 'x'))?.then(() => { order.push(i + 1) }))
  t.notOk(rest.includes(undefined), 'none passes one that waits')
  open()
  await Promise.all([first, ...rest])
  t.equal(records.writes - before, 2)
  t.strictSame(order, Array.from({ length: 51 }, (_, i) => i))
  t.equal(persistence.prepare(publisher, publish('elsewhere', 'x')), undefined, 'nothing to wait for')
})

await t.test('the queue is bounded, the oldest go first', async t => {
  const records = new MemoryRecords()
  const dropped: Dropped[] = []
  const { persistence, broker } = await start(records, { offlineQueue: 5, onDrop: drop => dropped.push(drop) })
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  for (let i = 0; i < 12; i++) {
    const packet = publish('a', String(i))
    await persistence.prepare(client('p'), packet)
    await route({ persistence, broker }, packet)
  }
  t.strictSame(persistence.queueOf('c'), { size: 5, inMemory: 0 }, 'a session that is away costs numbers only')
  t.equal(persistence.counts().dropped, 7)
  t.strictSame(dropped[0], { kind: 'queued', client: 'c', count: 1 })
  t.equal([...records.rows.keys()].filter(key => key.startsWith('q/')).length, 5)
  t.strictSame(texts(await list(persistence.outgoingStream(client('c')))), ['7', '8', '9', '10', '11'])
})

await t.test('retained messages are bounded in number and bytes', async t => {
  const dropped: Dropped[] = []
  const { persistence } = await start(new MemoryRecords(), { retained: 2, retainedBytes: 20, onDrop: drop => dropped.push(drop) })
  const retain = async (topic: string, payload: string) => { await persistence.storeRetained(publish(topic, payload, { retain: true })) }
  await retain('a', '12345')
  await retain('b', '12345')
  await retain('c', '1')
  t.strictSame(dropped, [{ kind: 'retained', topic: 'c' }])
  await retain('a', '123456')
  await retain('b', 'x'.repeat(15))
  t.strictSame(texts(await list(persistence.createRetainedStream('+'))).sort(), ['12345', '123456'], 'replaced within the bytes')
  await retain('a', '')
  await retain('c', '1')
  t.match(persistence.counts(), { retained: 2, retainedBytes: 8 })
})

await t.test('a retained message is what it is when its turn comes, not when it was found', async t => {
  const records = new MemoryRecords()
  const { persistence } = await start(records)
  const retain = async (topic: string, payload: string) => { await persistence.prepare(client('p'), publish(topic, payload, { retain: true })) }
  for (const topic of ['a', 'b', 'c', 'd']) await retain(topic, `old ${topic}`)
  const found = []
  for await (const one of persistence.retained('+')) found.push(one)
  await retain('a', 'new a')
  await persistence.storeRetained(publish('b', 'new b', { retain: true }))
  await retain('c', '')
  t.strictSame(await Promise.all(found.map(async one => (await one.latest())?.payload.toString())), ['new a', 'new b', undefined, 'old d'])
})

await t.test('retained messages that have expired leave the disk', async t => {
  const records = new MemoryRecords()
  const { persistence } = await start(records)
  const expiring = (topic: string, seconds: number) => publish(topic, 'x', { retain: true, properties: { contentType: '"e":1', messageExpiryInterval: seconds } })
  for (const packet of [expiring('a', 0), expiring('b', 1000), publish('c', '"e":1', { retain: true })]) await persistence.prepare(client('p'), packet)
  t.equal(records.rows.size, 3)
  const again = await start(records)
  await again.persistence.write([])
  t.strictSame([...records.rows.keys()], ['r/b', 'r/c'], 'at the start')
  t.match(again.persistence.counts(), { retained: 2, retainedBytes: 8 })
  await persistence.createRetainedStream('#').toArray()
  await persistence.write([])
  t.match(persistence.counts(), { retained: 2, retainedBytes: 8 }, 'and when they are met')
})

await t.test('a message that is on its way is found by its packet id', async t => {
  const started = await start(new MemoryRecords())
  const { persistence, broker } = started
  const receiver = client('c')
  broker.clients['c'] = receiver
  await persistence.addSubscriptions(receiver, [{ topic: '#', qos: 1 }])
  const sent: Packet[] = []
  for (let i = 0; i < 3; i++) {
    const packet = { ...await route(started, publish('a', String(i), { qos: 2 })), messageId: 5 }
    await persistence.outgoingUpdate(receiver, packet)
    sent.push(packet)
  }
  t.equal(new Set(sent.map(packet => packet.messageId)).size, 3, 'each has an id of its own [MQTT-2.3.1-4]')
  t.strictSame([...new Set(sent.map(packet => packet.qos))], [1], 'at the granted quality of service')
  t.match(await persistence.outgoingClearMessageId(receiver, publish('', '', { messageId: 5 })), { payload: Buffer.from('0') })
  t.equal(await persistence.outgoingClearMessageId(receiver, publish('', '', { messageId: 5 })), undefined)
  const again = client('c')
  const second = await list(persistence.outgoingStream(again))
  t.strictSame(second.map(packet => [packet.payload.toString(), packet.dup, packet.messageId]), sent.slice(1).map(packet => [packet.payload.toString(), true, packet.messageId]))
})

/** Aedes' live delivery: `undefined` when it is told not to send; else resolves when it may write. */
function deliver ({ persistence, broker }: Awaited<ReturnType<typeof start>>, receiver: ReturnType<typeof client>, packet: Packet): Promise<Packet> | undefined {
  const copy = { ...packet, messageId: undefined }
  if (broker.authorizeForward(receiver, copy) === null) return undefined
  return persistence.outgoingUpdate(receiver, copy).then(() => copy)
}

/** What Aedes does with the stored messages; `onSent` is called after each. */
async function empty ({ persistence }: Awaited<ReturnType<typeof start>>, receiver: ReturnType<typeof client>, onSent: (text: string) => unknown): Promise<void> {
  for await (const packet of persistence.outgoingStream(receiver) as AsyncIterable<Queued & Packet>) {
    const copy = { ...packet, messageId: packet.messageId ?? 10 }
    await persistence.outgoingUpdate(receiver, copy)
    await onSent(copy.payload.toString())
  }
}

await t.test('what is queued while the stream goes on is the stream\'s', async t => {
  const started = await start(new MemoryRecords())
  const { persistence } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  for (let i = 0; i < 3; i++) await route(started, publish('a', `old ${i}`))
  const receiver = client('c')
  const early = publish('a', 'early')
  await persistence.prepare(client('p'), early)
  t.equal(deliver(started, receiver, await route(started, early)), undefined, 'before the stream')
  const order: string[] = []
  let live = 0
  await empty(started, receiver, async text => {
    order.push(text)
    if (live < 6) t.equal(deliver(started, receiver, await route(started, publish('a', `live ${live++}`))), undefined, 'a client in its own pace would have it all in memory')
  })
  await new Promise(resolve => { setImmediate(resolve) })
  order.push((await deliver(started, receiver, await route(started, publish('a', 'behind it'))))?.payload.toString() ?? '')
  t.strictSame(order, ['old 0', 'old 1', 'old 2', 'early', 'live 0', 'live 1', 'live 2', 'live 3', 'live 4', 'live 5', 'behind it'])
})

await t.test('what comes behind the stream waits until all of it is sent', async t => {
  const started = await start(new MemoryRecords())
  const { persistence } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  await route(started, publish('a', 'old'))
  const receiver = client('c')
  const [stored] = await list(persistence.outgoingStream(receiver))
  const order: string[] = []
  const live = deliver(started, receiver, await route(started, publish('a', 'live')))?.then(() => { order.push('live') })
  t.ok(live)
  const copy = { ...stored as unknown as Packet, messageId: 10 }
  await persistence.outgoingUpdate(receiver, copy)
  order.push('old')
  await live
  t.strictSame(order, ['old', 'live'])
})

await t.test('a message that is on disk and not published yet goes out once', async t => {
  for (const acknowledged of [false, true]) {
    const started = await start(new MemoryRecords())
    const { persistence } = started
    await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
    const packet = publish('a', 'x')
    await persistence.prepare(client('p'), packet)
    const receiver = client('c')
    const sent: string[] = []
    await empty(started, receiver, text => sent.push(text))
    t.strictSame(sent, ['x'])
    if (acknowledged) t.match(await persistence.outgoingClearMessageId(receiver, publish('', '', { messageId: 10 })), { topic: 'a' })
    const next = publish('a', 'y')
    await persistence.prepare(client('p'), next)
    t.equal(deliver(started, receiver, await route(started, packet)), undefined, 'the stream sent it')
    t.equal(persistence.queueOf('c').size, acknowledged ? 1 : 2)
    t.match(await deliver(started, receiver, await route(started, next)), { payload: Buffer.from('y') }, 'and not the next one, whose queue may be a new one')
  }
})

await t.test('a session that connects between the queueing of a message and its delivery gets it once', async t => {
  const started = await start(new MemoryRecords())
  const { persistence } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  const [first, second] = [publish('a', '1'), publish('a', '2')]
  for (const packet of [first, second]) await persistence.prepare(client('p'), packet)
  const packet = await route(started, first)
  t.strictSame(persistence.queueOf('c'), { size: 2, inMemory: 0 }, 'its queue left memory')
  const receiver = client('c')
  t.equal(deliver(started, receiver, packet), undefined, 'the subscription is in force already, the stream has not begun')
  const sent: Array<[string, number | undefined]> = []
  for await (const stored of persistence.outgoingStream(receiver) as AsyncIterable<Queued & Packet>) {
    const copy = { ...stored, messageId: stored.messageId ?? 10 + sent.length }
    await persistence.outgoingUpdate(receiver, copy)
    sent.push([copy.payload.toString(), copy.messageId])
  }
  t.strictSame(sent, [['1', 10], ['2', 11]])
  t.equal(deliver(started, receiver, await route(started, second)), undefined)
  for (const messageId of [10, 11]) t.match(await persistence.outgoingClearMessageId(receiver, publish('', '', { messageId })), { messageId }, 'one for each acknowledgement')
  t.equal(persistence.queueOf('c').size, 0)
})

await t.test('a queue stays in memory while one connection takes another\'s place', async t => {
  const started = await start(new MemoryRecords())
  const { persistence, broker } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  for (let i = 0; i < 3; i++) await route(started, publish('a', String(i)))
  const [old, receiver] = [client('c'), client('c')]
  const sent: string[] = []
  await empty(started, receiver, async text => {
    sent.push(text)
    broker.emit('clientDisconnect', old)
    if (sent.length <= 3) await route(started, publish('a', 'live'))
  })
  t.strictSame(sent, ['0', '1', '2', 'live', 'live', 'live'])
  broker.emit('clientDisconnect', receiver)
  t.equal(persistence.queueOf('c').inMemory, 0)
})

await t.test('a connection that dies lets go of what waits', async t => {
  const started = await start(new MemoryRecords())
  const { persistence, broker } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  for (const end of [(lost: ReturnType<typeof client>) => lost.conn.emit('close'), (lost: ReturnType<typeof client>) => broker.emit('clientDisconnect', lost)]) {
    await route(started, publish('a', 'old'))
    const lost = client('c')
    // All of it is read, and nothing sent.
    await list(persistence.outgoingStream(lost))
    const waiting = deliver(started, lost, await route(started, publish('a', 'late')))
    t.ok(waiting)
    end(lost)
    await waiting
  }
})

await t.test('a session that starts anew has nothing to wait for', async t => {
  const started = await start(new MemoryRecords())
  const { persistence } = started
  const receiver = { ...client('c'), _cleanStart: true }
  await persistence.addSubscriptions(receiver, [{ topic: '#', qos: 1 }])
  t.match(await deliver(started, receiver, await route(started, publish('a', 'x'))), { payload: Buffer.from('x') }, 'before the stream')
  t.strictSame(await list(persistence.outgoingStream(receiver)), [], 'Aedes would drop what it got from the stream')
  t.equal(persistence.queueOf('c').size, 1)
})

await t.test('a client that goes takes its queue out of memory', async t => {
  const records = new MemoryRecords()
  const started = await start(records)
  const { persistence, broker } = started
  const receiver = client('c')
  broker.clients['c'] = receiver
  await persistence.addSubscriptions(receiver, [{ topic: '#', qos: 2 }])
  const packets: Packet[] = []
  for (let i = 0; i < 4; i++) {
    const packet = { ...await route(started, publish('a', String(i), { qos: 2 })), messageId: 50 + i }
    if (i < 2) await persistence.outgoingUpdate(receiver, packet)
    packets.push(packet)
  }
  await persistence.outgoingUpdate(receiver, { cmd: 'pubrel', messageId: 51 } as Packet)
  t.strictSame(persistence.queueOf('c'), { size: 4, inMemory: 4 })
  delete broker.clients['c']
  broker.emit('clientDisconnect', receiver)
  t.strictSame(persistence.queueOf('c'), { size: 4, inMemory: 0 })
  const got = await list(persistence.outgoingStream(client('c')))
  t.match(got, [{ messageId: 50, dup: true }, { cmd: 'pubrel', messageId: 51 }, { dup: false }, { dup: false }])
  t.strictSame(texts([got[0], got[2], got[3]] as Queued[]), ['0', '2', '3'])
  t.equal(new Set(got.map(packet => packet.messageId)).size, 4)
})

await t.test('expired messages are not delivered', async t => {
  const started = await start(new MemoryRecords())
  const { persistence } = started
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  for (const [topic, messageExpiry] of [['old', Date.now() - 1], ['new', Date.now() + 60_000]] as const) await route(started, publish(topic, topic, { messageExpiry, retain: true }))
  t.strictSame(texts(await list(persistence.outgoingStream(client('c')))), ['new'])
  t.strictSame(texts(await list(persistence.createRetainedStream('#'))), ['new'])
  t.equal(persistence.counts().retained, 1)
})

await t.test('$-topics and wildcards', async t => {
  const { persistence } = await start(new MemoryRecords())
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }, { topic: '+/x', qos: 1 }, { topic: '$a/#', qos: 1 }])
  t.same((await persistence.subscriptionsByTopic('$a/x')).map(match => (match as { topic?: string }).topic), ['$a/#'], '[MQTT-4.7.2-1]')
  await persistence.storeRetained(publish('$a/x', 'x', { retain: true }))
  t.strictSame(await list(persistence.createRetainedStreamCombi(['#', '+/x'])), [])
  t.equal((await list(persistence.createRetainedStream('$a/+'))).length, 1)
})

await t.test('a clean session keeps its packet ids only while it lasts', async t => {
  const records = new MemoryRecords()
  const { persistence } = await start(records)
  const one = { id: 'c', clean: true }
  await persistence.incomingStorePacket(one, publish('a', 'x', { qos: 2, messageId: 1 }))
  t.equal(records.rows.size, 0)
  await t.resolves(persistence.incomingGetPacket(one, publish('', '', { messageId: 1 })))
  await t.rejects(persistence.incomingGetPacket({ id: 'c', clean: true }, publish('', '', { messageId: 1 })))
  await persistence.incomingDelPacket(one, publish('', '', { messageId: 1 }))
  await t.resolves(persistence.incomingDelPacket(one, publish('', '', { messageId: 1 })), 'of two PUBRELs that come together both free it')
})

await t.test('Aedes closes no connection for a packet that is not queued', async t => {
  const { persistence } = await start(new MemoryRecords(), { offlineQueue: 2 })
  const receiver = client('c')
  await persistence.outgoingUpdate(receiver, publish('a', 'retained', { messageId: 3 }))
  for (const messageId of [1, 2, 3]) await persistence.outgoingUpdate(receiver, { cmd: 'pubrel', messageId } as Packet)
  t.equal(persistence.queueOf('c').size, 2, 'a stranger\'s PUBRECs are bounded too')
})
