/** A client of ordinary topics: what reaches it while its subscription is being written, and what it may cost while it acknowledges nothing. */
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { OpenTopics } from '../../broker/gateway/open-topics.ts'
import type { OrdinaryClient, OrdinaryPeer } from '../../broker/gateway/ordinary-topics.ts'
import { OrdinaryBroker } from '../../broker/ordinary/adapter.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

const log = pino({ level: 'silent' })
const quiet = async (): Promise<void> => { for (let i = 0; i < 20; i++) await new Promise(resolve => { setImmediate(resolve) }) }

/** What was written to a client, PUBLISH packets alone. */
class Peer implements OrdinaryPeer {
  readonly session: { id: string, persistent: boolean }
  readonly version = 5
  readonly maximumPacketBytes = 0xffffffff
  readonly aliases = undefined
  readonly got: Buffer[] = []
  /** Everything else. */
  readonly others: Buffer[] = []
  readonly window: OrdinaryPeer['window']
  closed = false
  unsentBytes = 0

  constructor (id: string, persistent: boolean, room: number) {
    this.session = { id, persistent }
    let taken = 0
    this.window = { get room () { return taken < room }, get free () { return room - taken }, take: () => { taken++ }, give: () => { taken-- } }
  }

  write (packet: Buffer): void { ((packet[0] as number) >> 4 === 3 ? this.got : this.others).push(Buffer.from(packet)) }
  acknowledged (): void {}
  hold (): void {}
  release (): void {}
  close (): void { this.closed = true }
  cutOff (): void { this.closed = true }
}

async function start (t: Test): Promise<{ broker: OrdinaryBroker, records: MemoryRecords }> {
  const records = new MemoryRecords()
  const limits = { offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 1000, retainedBytes: 1_000_000, outputBytes: 1_000_000 }
  const broker = await OrdinaryBroker.start({ records, openTopics: new OpenTopics(['#'], 'im'), limits, log })
  t.teardown(() => broker.close())
  return { broker, records }
}

const subscription = (filter: string) => ({ filter, qos: 1, noLocal: false, rap: false, rh: 0 }) as const
const say = async (broker: OrdinaryBroker, payload: string, retain = false): Promise<void> => {
  await broker.publishWill('other/x', { topic: `open/${payload}`, payload: Buffer.from(payload), qos: 1, retain }, 'none')
}
/** The last byte of the client's next packet id, as Aedes gave it. */
const packetIdOf = (frame: Buffer): number => frame.readUInt16BE(4 + frame.readUInt16BE(2))
const answer = (client: OrdinaryClient, frame: Buffer): void => {
  const id = packetIdOf(frame)
  client.forward(Buffer.from([0x40, 2, id >> 8, id & 0xff]))
}

await t.test('what is published while a subscription of a kept session is being written comes before what is published later', async t => {
  const { broker, records } = await start(t)
  const peer = new Peer('u/a', true, 100)
  const client = await broker.attach(peer)
  await quiet()
  const gates: Array<() => void> = []
  const hold = (): void => { records.hold = new Promise(resolve => { gates.push(resolve) }) }
  hold()
  const said = say(broker, 'a')
  await quiet()
  const subscribed = client.subscribe([subscription('open/#')], undefined, () => {})
  await quiet()
  // The message is written, the subscription is not yet.
  hold()
  gates[0]?.()
  await said
  await quiet()
  records.hold = undefined
  gates[1]?.()
  await subscribed
  await say(broker, 'b')
  await quiet()
  t.strictSame(peer.got.map(frame => frame.at(-1)), [...Buffer.from('ab')])
})

await t.test('who subscribes again and again and acknowledges nothing has retained messages waiting once', async t => {
  const { broker } = await start(t)
  for (const name of 'abcd') await say(broker, name, true)
  const peer = new Peer('u/a', false, 1)
  const client = await broker.attach(peer)
  for (let i = 0; i < 100; i++) await client.subscribe([subscription('open/#')], undefined, () => {})
  await quiet()
  t.equal(peer.got.length, 1)
  for (let done = 0; done < peer.got.length; done++) {
    answer(client, peer.got[done] as Buffer)
    await quiet()
  }
  t.equal(peer.got.length, 8, 'once for the first, once for all others')
  await client.subscribe([subscription('open/+')], undefined, () => {})
  await client.unsubscribe(['open/+'])
  const before = peer.got.length
  for (let done = before; done < peer.got.length; done++) {
    answer(client, peer.got[done] as Buffer)
    await quiet()
  }
  t.ok(peer.got.length - before <= 2, 'who unsubscribes is not sent the rest')
})

await t.test('retained messages at QoS 0 give no right to be sent others without bound', async t => {
  const { broker } = await start(t)
  for (let i = 0; i < 200; i++) await say(broker, `r${i}`, true)
  const peer = new Peer('u/a', false, 1)
  const client = await broker.attach(peer)
  await client.subscribe([{ ...subscription('open/#'), qos: 0 }], undefined, () => {})
  for (let i = 0; i < 100 && peer.got.length < 200; i++) await quiet()
  t.equal(peer.got.length, 200)
  await client.subscribe([{ ...subscription('open/#'), rh: 2 }], undefined, () => {})
  peer.unsentBytes = 3_000_000
  for (let i = 0; i < 100 && !peer.closed; i++) await say(broker, `l${i}`)
  t.ok(peer.closed, 'it is cut off, as anybody else')
})

for (const qos of [1, 2] as const) {
  await t.test(`a publish that cannot be stored ends the connection instead of being refused, QoS ${qos}`, async t => {
    const { broker, records } = await start(t)
    const hearer = await broker.attach(new Peer('u/b', true, 10))
    await hearer.subscribe([subscription('open/#')], undefined, () => {})
    const peer = new Peer('u/a', false, 10)
    const client = await broker.attach(peer)
    records.failure = new Error('disk full')
    client.forward(Buffer.from([0x30 | qos << 1, 12, 0, 6, ...Buffer.from('open/x'), 0, 7, 0, 0x78]))
    await quiet()
    t.strictSame([peer.closed, peer.others], [true, []], 'so that the client sends it again')
    records.failure = undefined
  })
}

await t.test('a message that a group begins to queue while it is being written comes to a member that has it by a filter of its own, too', async t => {
  const { broker, records } = await start(t)
  const peer = new Peer('u/a', true, 10)
  const client = await broker.attach(peer)
  const shared = subscription('$share/g/open/+')
  await client.subscribe([subscription('open/#'), { ...shared, qos: 0 }], undefined, () => {})
  let written = (): void => {}
  records.hold = new Promise(resolve => { written = resolve })
  const said = say(broker, 'x')
  await quiet()
  const subscribed = client.subscribe([shared], undefined, () => {})
  await quiet()
  records.hold = undefined
  written()
  await Promise.all([said, subscribed])
  await quiet()
  t.equal(peer.got.length, 2)
})

for (const qos of [1, 2] as const) {
  await t.test(`an acknowledgement counts when it is read, also behind a publish that is being written as the connection ends, QoS ${qos}`, async t => {
    const { broker, records } = await start(t)
    const hearer = await broker.attach(new Peer('u/b', true, 10))
    await hearer.subscribe([subscription('else/#')], undefined, () => {})
    const peer = new Peer('u/a', true, 10)
    const client = await broker.attach(peer)
    await client.subscribe([{ ...subscription('open/#'), qos }], undefined, () => {})
    await broker.publishWill('other/x', { topic: 'open/x', payload: Buffer.from('x'), qos, retain: false }, 'none')
    await quiet()
    const id = packetIdOf(peer.got[0] as Buffer)
    let written = (): void => {}
    records.hold = new Promise(resolve => { written = resolve })
    client.forward(Buffer.from([0x32, 12, 0, 6, ...Buffer.from('else/y'), 0, 7, 0, 0x79]))
    await quiet()
    client.forward(Buffer.from([qos === 1 ? 0x40 : 0x50, 2, id >> 8, id & 0xff]))
    client.end(false)
    records.hold = undefined
    written()
    await quiet()
    const back = new Peer('u/a', true, 10)
    await broker.attach(back)
    await quiet()
    t.strictSame(back.got, [], 'it is not sent again')
    t.strictSame(back.others.map(packet => [packet[0], packet.readUInt16BE(2)]), qos === 1 ? [] : [[0x62, id]], 'PUBREL is due')
  })
}

for (const [what, filters] of [['one filter', ['open/#']], ['many filters', ['open/old', ...Array.from({ length: 20 }, (_, i) => `open/none/${i}`), 'open/new']]] as const) {
  await t.test(`what is published after the SUBACK comes behind the retained messages, ${what}, however long their rows take`, async t => {
    const { broker, records } = await start(t)
    await say(broker, 'old', true)
    const peer = new Peer('u/a', false, 100)
    const client = await broker.attach(peer)
    let release = (): void => {}
    records.holdReads = new Promise(resolve => { release = resolve })
    let granted = false
    const subscribed = client.subscribe(filters.map(subscription), undefined, () => {
      granted = true
      say(broker, 'new').catch(t.threw)
    })
    await quiet()
    if (!granted) release()
    await subscribed
    await quiet()
    release()
    await quiet()
    t.strictSame(peer.got.map(frame => frame.subarray(-3).toString()), ['old', 'new'])
  })
}
