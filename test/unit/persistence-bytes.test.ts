/** What ordinary topics take on disk: a message is stored once however many sessions are away, and there are bounds in bytes. */
import { EventEmitter } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import { recordsPersistence } from '../../broker/ordinary/persistence.ts'
import type { Dropped, PersistenceOptions, RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

type Packet = Parameters<RecordsPersistence['prepare']>[1]
interface Queued { payload: Buffer, messageId?: number, qos: number, retain: boolean, properties?: Record<string, unknown> }
interface Place { persistence: RecordsPersistence, broker: EventEmitter & { id: string, clients: Record<string, unknown> } }

let started = 0
async function start (records: MemoryRecords, options: Partial<PersistenceOptions> = {}): Promise<Place> {
  const persistence = recordsPersistence({ records, offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 100, retainedBytes: 100_000, ...options })
  const broker = Object.assign(new EventEmitter(), { id: `b${++started}`, clients: {} })
  await persistence.setup(broker)
  return { persistence, broker }
}

const client = (id: string) => ({ id, clean: false, conn: new EventEmitter() })
let counter = 0
/** A publish all the way, as Aedes does it. */
async function send ({ persistence, broker }: Place, topic: string, payload: string | Buffer, more: Partial<Packet> = {}): Promise<void> {
  const packet: Packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: false, ...more }
  await persistence.prepare(client('p'), packet)
  await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic(topic), { ...packet, brokerId: broker.id, brokerCounter: ++counter })
}
const stream = async ({ persistence }: Place, id: string): Promise<Queued[]> => await persistence.outgoingStream(client(id)).toArray() as Queued[]
/** Reads and acknowledges everything of a session. */
async function drain (place: Place, id: string): Promise<string[]> {
  const packets = await stream(place, id)
  for (const packet of packets) {
    await place.persistence.outgoingUpdate(client(id), packet as never)
    await place.persistence.outgoingClearMessageId(client(id), packet as never)
  }
  return packets.map(packet => packet.payload.toString('utf8', 0, 8).trimEnd())
}
async function subscribe ({ persistence }: Place, ...ids: string[]): Promise<void> {
  for (const id of ids) await persistence.addSubscriptions({ id }, [{ topic: 't/#', qos: 1 }])
}
const rows = (records: MemoryRecords, kind: string): string[] => [...records.rows.keys()].filter(key => key.startsWith(`${kind}/`))
const bytesOf = (records: MemoryRecords): number => [...records.rows].filter(([key]) => /^[qb]\//.test(key)).reduce((sum, [, value]) => sum + value.byteLength, 0)
const body = (i: number, size = 10_000): string => String(i).padEnd(8).padEnd(size, 'x')

await t.test('a message that waits for many sessions is stored once, until the last one has it', async t => {
  const records = new MemoryRecords()
  let place = await start(records)
  const ids = Array.from({ length: 90 }, (_, i) => `c${i}`)
  await subscribe(place, ...ids)
  for (let i = 0; i < 20; i++) await send(place, 't/a', body(i))
  t.equal(rows(records, 'b').length, 20)
  t.ok(bytesOf(records) < 2 * 20 * 10_000, `${bytesOf(records)} bytes for 200,000 of payload`)
  t.strictSame(place.persistence.queueOf('c7'), { size: 20, inMemory: 0 })
  const expected = Array.from({ length: 20 }, (_, i) => String(i))
  for (const id of ids.slice(0, 45)) t.strictSame(await drain(place, id), expected)
  await place.persistence.destroy()
  place = await start(records)
  t.equal(rows(records, 'b').length, 20, 'those that did not come need them')
  for (const id of ids.slice(45)) t.strictSame(await drain(place, id), expected)
  await place.persistence.destroy()
  t.strictSame([...rows(records, 'b'), ...rows(records, 'q')], [])
  t.equal(place.persistence.counts().queuedBytes, 0)
})

await t.test('each delivery keeps what is its own', async t => {
  const records = new MemoryRecords()
  const place = await start(records)
  await place.persistence.addSubscriptions({ id: 'a' }, [{ topic: 't/#', qos: 2, rap: true, subscriptionIdentifier: 7 }])
  await place.persistence.addSubscriptions({ id: 'b' }, [{ topic: 't/#', qos: 1 }])
  const properties = { contentType: 'x', correlationData: Buffer.from([0, 200]) }
  const packet: Packet = { cmd: 'publish', topic: 't/a', payload: Buffer.from(body(1)), qos: 2, retain: true, messageId: 3, properties }
  await place.persistence.incomingStorePacket(client('p'), packet)
  await place.persistence.destroy()
  const again = await start(records)
  t.equal(rows(records, 'b').length, 1)
  t.match(await stream(again, 'a'), [{ qos: 2, retain: true, properties: { ...properties, subscriptionIdentifier: [7] } }])
  t.match(await stream(again, 'b'), [{ qos: 1, retain: false, properties: { contentType: 'x' } }])
  t.notOk('subscriptionIdentifier' in ((await stream(again, 'b'))[0]?.properties ?? {}))
})

await t.test('a session is bounded in bytes: the oldest go first, the newest stays', async t => {
  const records = new MemoryRecords()
  const dropped: Dropped[] = []
  const place = await start(records, { offlineQueueBytes: 35_000, onDrop: drop => dropped.push(drop) })
  await subscribe(place, 'a')
  for (let i = 0; i < 6; i++) await send(place, 't/a', body(i))
  t.equal(dropped.length, 3)
  t.ok(bytesOf(records) <= 35_000)
  await send(place, 't/a', body(9, 50_000))
  t.strictSame(await drain(place, 'a'), ['9'], 'one that is larger than the limit is kept alone')
})

await t.test('all together are bounded: those that hold most lose their oldest, those that are connected last', async t => {
  const records = new MemoryRecords()
  const place = await start(records, { offlineBytes: 200_000 })
  const away = Array.from({ length: 10 }, (_, i) => `away${i}`)
  await subscribe(place, ...away)
  await place.persistence.addSubscriptions({ id: 'here' }, [{ topic: 'own', qos: 1 }])
  place.broker.clients['here'] = client('here')
  for (let i = 0; i < 10; i++) await send(place, 'own', body(i))
  for (let i = 0; i < 200; i++) {
    await send(place, 't/a', body(i, 2_000))
    t.ok(place.persistence.counts().queuedBytes <= 200_000)
  }
  await place.persistence.destroy()
  t.ok(bytesOf(records) <= 200_000, `${bytesOf(records)} bytes`)
  t.equal(place.persistence.queueOf('here').size, 10)
  const sizes = away.map(id => place.persistence.queueOf(id).size)
  t.equal(new Set(sizes).size, 1, 'nobody pays for the others')
  t.equal((await drain(place, 'away3')).at(-1), '199')
})

await t.test('who fills the room of all costs those nothing who hold little', async t => {
  const place = await start(new MemoryRecords(), { offlineBytes: 200_000 })
  await place.persistence.addSubscriptions({ id: 'quiet' }, [{ topic: 'quiet', qos: 1 }])
  for (let i = 0; i < 5; i++) await send(place, 'quiet', body(i, 1_000))
  const greedy = Array.from({ length: 3 }, (_, i) => `greedy${i}`)
  for (const id of greedy) await place.persistence.addSubscriptions({ id }, [{ topic: id, qos: 1 }])
  for (let i = 0; i < 100; i++) for (const id of greedy) await send(place, id, body(i, 2_000))
  t.ok(place.persistence.counts().queuedBytes <= 200_000)
  t.strictSame(await drain(place, 'quiet'), ['0', '1', '2', '3', '4'])
  const sizes = greedy.map(id => place.persistence.queueOf(id).size)
  t.ok(Math.min(...sizes) > 20, `${sizes.join(' ')} left`)
})

await t.test('a write that fails leaves the count as it was', async t => {
  const records = new MemoryRecords()
  const place = await start(records)
  await subscribe(place, 'a', 'b')
  await send(place, 't/a', body(1))
  const before = place.persistence.counts().queuedBytes
  records.failure = new Error('disk full')
  await t.rejects(send(place, 't/a', body(2)))
  records.failure = undefined
  t.equal(place.persistence.counts().queuedBytes, before)
  await place.persistence.destroy()
  t.equal((await start(records)).persistence.counts().queuedBytes, before)
})

await t.test('whatever happens, the count is that of the rows, and no row is left behind', async t => {
  const ids = ['a', 'b', 'c'] as const
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), size: fc.constantFrom(10, 300, 3_000), to: fc.constantFrom('t/all', 'a', 'b') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('drain' as const), id: fc.constantFrom(...ids) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), id: fc.constantFrom(...ids) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), id: fc.constantFrom(...ids) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) }
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async steps => {
    const records = new MemoryRecords()
    const limits = { offlineQueue: 6, offlineQueueBytes: 8_000, offlineBytes: 15_000 }
    let place = await start(records, limits)
    const subscribeAll = async (): Promise<void> => {
      await subscribe(place, ...ids)
      for (const id of ['a', 'b']) await place.persistence.addSubscriptions({ id }, [{ topic: id, qos: 1 }])
    }
    await subscribeAll()
    const restart = async (): Promise<void> => {
      const { queuedBytes } = place.persistence.counts()
      await place.persistence.destroy()
      place = await start(records, limits)
      if (place.persistence.counts().queuedBytes !== queuedBytes) throw new Error(`${queuedBytes} bytes were counted, ${place.persistence.counts().queuedBytes} are there`)
    }
    for (const one of steps) {
      if (one.do === 'send') await send(place, one.to, body(1, one.size))
      else if (one.do === 'drain') await drain(place, one.id)
      else if (one.do === 'read') await stream(place, one.id)
      else if (one.do === 'forget') await place.persistence.forget(one.id).then(subscribeAll)
      else await restart()
      if (place.persistence.counts().queuedBytes > limits.offlineBytes + 3_500) throw new Error('over the limit')
    }
    await restart()
    for (const id of ids) await drain(place, id)
    await place.persistence.destroy()
    const left = [...rows(records, 'b'), ...rows(records, 'q'), ...rows(records, 's')]
    if (left.length > 0) throw new Error(`left: ${left.join(' ')}`)
  }), { numRuns: 150, endOnFailure: true })
  t.pass()
})
