/** A long queue while its session takes it: what of it is in memory, and that nothing of it is lost, doubled or out of order. */
import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'
import t from 'tap'
import { recordsPersistence, type RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

type Packet = Parameters<RecordsPersistence['prepare']>[1]
interface Sent { cmd: string, payload: Buffer, dup: boolean, messageId?: number }

class Broker extends EventEmitter {
  readonly id = 'broker'
  clients: Record<string, unknown> = {}
  authorizeForward: (client: { id: string }, packet: Packet) => unknown = (_client, packet) => packet
}

class Place {
  readonly broker = new Broker()
  readonly persistence: RecordsPersistence
  #counter = 0

  constructor (records: MemoryRecords) {
    this.persistence = recordsPersistence({ records, offlineQueue: 1000, offlineQueueBytes: 1e9, offlineBytes: 1e9, retained: 1, retainedBytes: 1 })
  }

  static async start (records: MemoryRecords): Promise<Place> {
    const place = new Place(records)
    await place.persistence.setup(place.broker)
    await place.persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 2 }])
    return place
  }

  /** As Aedes goes on after authorizePublish. */
  async route (text: string, qos: 1 | 2 = 1): Promise<void> {
    const packet: Packet = { cmd: 'publish', topic: 'a', payload: Buffer.from(text), qos, retain: false, brokerId: this.broker.id, brokerCounter: ++this.#counter }
    await this.persistence.outgoingEnqueueCombi(await this.persistence.subscriptionsByTopic(packet.topic), packet)
  }

  connect (): Connection {
    const connection = new Connection(this)
    this.broker.clients['c'] = connection.client
    return connection
  }

  get held (): number { return this.persistence.queueOf('c').inMemory }
  get size (): number { return this.persistence.queueOf('c').size }
}

/** Aedes' side of one connection of the session. */
class Connection {
  readonly client = { id: 'c', clean: false, closed: false, conn: new EventEmitter() }
  readonly #place: Place
  readonly #stream: Readable
  readonly #packets: AsyncIterator<Sent>
  #lastId = 0

  constructor (place: Place) {
    this.#place = place
    this.#stream = place.persistence.outgoingStream(this.client)
    this.#packets = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Sent>
  }

  /** The next one, with its packet id. */
  async take (): Promise<Sent | undefined> {
    const { value, done } = await this.#packets.next() as IteratorResult<Sent, undefined>
    if (done === true || value === undefined) return undefined
    const packet = { ...value, messageId: value.messageId ?? (this.#lastId = this.#lastId % 60_000 + 1) }
    await this.#place.persistence.outgoingUpdate(this.client, packet as unknown as Packet)
    return packet
  }

  async answer (messageId: number | undefined): Promise<object | undefined> {
    return await this.#place.persistence.outgoingClearMessageId(this.client, { cmd: 'puback', messageId } as unknown as Packet)
  }

  end (): void {
    this.#stream.destroy()
    this.client.closed = true
    this.#place.broker.clients = {}
    this.client.conn.emit('close')
    this.#place.broker.emit('clientDisconnect', this.client)
  }
}

const text = (sent: Sent | undefined): string => String(sent?.payload)

/** A page, what the reader has in its buffers, and the window. */
const most = 64 + 32 + 10

for (const restart of [false, true]) {
  await t.test(`of a long queue only a page is in memory while it is taken${restart ? ', after a restart' : ''}`, async t => {
    const records = new MemoryRecords()
    let place = await Place.start(records)
    const count = 1000
    for (let i = 0; i < count; i++) await place.route(String(i), i % 3 === 0 ? 2 : 1)
    if (restart) {
      await place.persistence.destroy()
      place = await Place.start(records)
    }
    t.equal(place.held, 0)
    const connection = place.connect()
    const window: Array<number | undefined> = []
    let [held, wrong] = [0, 0]
    for (let i = 0; i < count; i++) {
      const sent = await connection.take()
      if (text(sent) !== String(i) || sent?.dup !== false) wrong++
      window.push(sent?.messageId)
      held = Math.max(held, place.held)
      if (window.length === 10) await connection.answer(window.shift())
    }
    t.equal(wrong, 0)
    t.ok(held <= most, `${held} were in memory at once`)
    t.equal(await connection.take(), undefined)
    for (const id of window) await connection.answer(id)
    t.equal(place.size, 0)
    await place.persistence.destroy()
    t.same([...records.rows.keys()].filter(key => key.startsWith('q/') || key.startsWith('s/')), [], 'and nothing of it on disk')
  })
}

await t.test('what a connection leaves of a long queue leaves memory, and the next one goes on', async t => {
  const place = await Place.start(new MemoryRecords())
  for (let i = 0; i < 500; i++) await place.route(String(i))
  const first = place.connect()
  const ids: Array<number | undefined> = []
  for (let i = 0; i < 200; i++) ids.push((await first.take())?.messageId)
  // The first hundred, and one that the rest of the queue cannot close up to.
  for (const id of [...ids.slice(0, 100), ids[150]]) await first.answer(id)
  first.end()
  t.equal(place.size, 399)
  t.equal(place.held, 50, 'what is before a gap stays')
  await place.route('500')
  t.equal(place.held, 50)
  const second = place.connect()
  const got: Sent[] = []
  for (let sent = await second.take(); sent !== undefined; sent = await second.take()) got.push(sent)
  const expected = [...Array(501).keys()].filter(i => i >= 100 && i !== 150).map(String)
  t.same(got.map(text), expected)
  t.same(got.map(({ dup }) => dup), expected.map(i => Number(i) < 200), '[MQTT-3.3.1-1]')
  t.same(got.slice(0, 99).map(({ messageId }) => messageId), [...ids.slice(100, 150), ...ids.slice(151)], '[MQTT-4.4.0-1]')
  t.equal(new Set(got.map(({ messageId }) => messageId)).size, 400)
})

await t.test('a late acknowledgement of what lies deep in the queue finds it, and packet ids there are taken', async t => {
  const place = await Place.start(new MemoryRecords())
  for (let i = 0; i < 400; i++) await place.route(String(i))
  const first = place.connect()
  const ids: Array<number | undefined> = []
  for (let i = 0; i < 300; i++) ids.push((await first.take())?.messageId)
  first.end()
  t.equal(place.held, 0)
  await place.persistence.warm('c')
  t.equal(place.held, 0, 'packet ids are enough')
  t.ok(place.persistence.hasPacketId('c', ids[250] as number))
  const second = place.connect()
  const got = [await second.take()]
  t.ok(place.held <= most)
  t.ok(await second.answer(ids[250]), 'it was sent before the connection broke')
  t.notOk(place.persistence.hasPacketId('c', ids[250] as number))
  for (let sent = await second.take(); sent !== undefined; sent = await second.take()) got.push(sent)
  t.same(got.map(text), [...Array(400).keys()].filter(i => i !== 250).map(String), 'and the rest comes in order')
  t.equal(new Set(got.map(sent => sent?.messageId)).size, 399, '[MQTT-2.2.1-4]')
})

await t.test('a queue that is cut while it is taken loses what is oldest', async t => {
  const place = await Place.start(new MemoryRecords())
  for (let i = 0; i < 1000; i++) await place.route(String(i))
  const connection = place.connect()
  t.equal(text(await connection.take()), '0')
  for (let i = 0; i < 200; i++) await place.route(String(1000 + i))
  t.equal(place.size, 1000)
  const rest: number[] = []
  for (let sent = await connection.take(); sent !== undefined; sent = await connection.take()) rest.push(Number(text(sent)))
  t.same(rest.slice(-999), [...Array(999).keys()].map(i => i + 201))
  t.ok(rest.every((n, i) => i === 0 || n > (rest[i - 1] as number)), 'in order')
})
