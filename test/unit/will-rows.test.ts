/** Wills on disk: what a store that fails in between makes of them, and rows that cannot be read. */
import { Aedes } from 'aedes'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { OpenTopics } from '../../broker/gateway/open-topics.ts'
import type { Will } from '../../broker/mqtt/index.ts'
import { OrdinaryBroker } from '../../broker/ordinary/adapter.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'
import { bench, settled, type Bench } from '../support/memory-client.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

const will = { topic: 'news/x', payload: Buffer.from('gone'), qos: 1 as const, retain: false }
const at = (t: Test, records: MemoryRecords, ordinary: FakeOrdinary, log?: Parameters<typeof bench>[4]): Bench => bench(t, {}, ordinary, ['news/#'], log, false, undefined, records)

/** Removes a will's row with what it leaves behind, as the broker does. */
class Removing extends FakeOrdinary {
  readonly #records: MemoryRecords
  constructor (records: MemoryRecords) {
    super()
    this.#records = records
  }

  override async publishWill (session: string, _will?: Will, key = ''): Promise<void> {
    await super.publishWill(session)
    this.#records.rows.delete(key)
  }
}

await t.test('a row that the store did not take when it came is not written after its will has been sent', async t => {
  const records = new MemoryRecords()
  const ordinary = new Removing(records)
  const b = at(t, records, ordinary)
  records.failure = new Error('no room')
  const bob = b.client()
  await bob.connect('bob', { will })
  await settled(b.engine)
  t.equal(records.rows.size, 0)
  records.failure = undefined
  bob.lose()
  await settled(b.engine)
  t.same(ordinary.wills, ['bob/phone'])
  await b.client().connect('carol', { will })
  await settled(b.engine)
  t.equal(records.rows.size, 1, 'that of who is connected')
  const later = new MemoryRecords()
  for (const [key, value] of records.rows) later.rows.set(key, value)
  const ordinaryLater = new Removing(later)
  await at(t, later, ordinaryLater).access.restore()
  await settled(b.engine)
  t.same(ordinaryLater.wills, ['carol/phone'], 'it would come a second time with the next start')
})

await t.test('what the store has taken of a will is not stored again when Aedes fails on it', async t => {
  const records = new MemoryRecords()
  const log = pino({ level: 'silent' })
  const limits = { offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 1000, retainedBytes: 1_000_000, outputBytes: 1_000_000 }
  const open = { records, openTopics: new OpenTopics(['news/#'], 'im'), limits, log }
  const broker = await OrdinaryBroker.start(open)
  t.teardown(() => broker.close())
  const stream = await attached(t, broker)
  await stream.subscribe([{ filter: 'news/#', qos: 1, noLocal: false, rap: false, rh: 0 }], undefined, () => {})
  stream.end(true)
  await until(() => records.rows.size > 0)
  const queued = (): number => [...records.rows.keys()].filter(key => key.startsWith('q/')).length
  const { publish } = Aedes.prototype
  const prototype = Aedes.prototype as { publish: unknown }
  t.teardown(() => { prototype.publish = publish })
  let faults = 0
  prototype.publish = function (this: Aedes, ...args: Parameters<typeof publish>) {
    const [{ topic }, ...rest] = args
    if (topic !== 'news/x' || faults++ > 0) return publish.apply(this, args)
    ;(rest.at(-1) as unknown as (error: Error) => void)(new Error('the first time'))
  }
  await t.rejects(broker.publishWill('bob/phone', { ...will, properties: { willDelaySeconds: 1 } }, 'wills/1'), /the first time/)
  t.equal(queued(), 1, 'it is stored')
  await broker.publishWill('bob/phone', will, 'wills/1')
  await until(() => faults === 2)
  t.equal(queued(), 1, 'once')
  await broker.publishWill('bob/phone', will, 'wills/2')
  t.equal(queued(), 2, 'another one is another one')
})

await t.test('rows that cannot be read are told of and kept, and no hindrance', async t => {
  const records = new MemoryRecords()
  const first = at(t, records, new FakeOrdinary())
  await first.client().connect('bob', { will })
  await settled(first.engine)
  const bad = ['{', 'null', '7', '{}', '{"s":"a/b","u":"a","d":0,"t":"news/x","q":1}', '{"s":"a/b","u":"a","d":0,"t":"news/x","p":"","q":3}', '{"s":"a/b","u":"a","d":"0","t":"news/x","p":"","q":1}', '{"s":"a/b","u":"a","d":0,"t":"news/x","p":"","q":1,"x":5}', '']
  for (const [i, row] of bad.entries()) records.rows.set(`wills/${i}`, Buffer.from(row))
  const lines: Array<Record<string, unknown>> = []
  const log = pino({ level: 'info' }, { write: line => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const ordinary = new Removing(records)
  const second = at(t, records, ordinary, log)
  await second.access.restore()
  await settled(second.engine)
  t.same(ordinary.wills, ['bob/phone'], 'the others are sent')
  const told = lines.filter(({ msg }) => msg === 'a will that is stored cannot be read: it is not sent, and its row stays')
  t.same(told.map(({ row, level }) => [row, level]), bad.map((_, i) => [`wills/${i}`, 50]))
  t.same([...records.rows.keys()], bad.map((_, i) => `wills/${i}`), 'they stay')
})

async function until (probe: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !probe(); i++) await new Promise(resolve => { setImmediate(resolve) })
}

/** A client of a kept session, with room for everything. */
async function attached (t: Test, broker: OrdinaryBroker): ReturnType<OrdinaryBroker['attach']> {
  const window = { room: true, free: 100, take: () => {}, give: () => {} }
  const client = await broker.attach({ session: { id: 'alice/phone', persistent: true }, version: 5, maximumPacketBytes: 1e9, aliases: undefined, window, closed: false, unsentBytes: 0, write: () => {}, acknowledged: () => {}, hold: () => {}, release: () => {}, close: () => {}, cutOff: () => {} })
  t.teardown(() => { client.end(false) })
  return client
}
