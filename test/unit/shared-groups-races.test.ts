/** Groups of shared subscriptions when members go in the middle of a write, and when the group's queue is at its bound. */
import t from 'tap'
import type { PacketLike } from '../../broker/ordinary/persistence-packets.ts'
import { recordsPersistence, type RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { Router } from '../../broker/ordinary/router.ts'
import type { Dealer } from '../../broker/ordinary/shared-group.ts'
import { SharedGroups } from '../../broker/ordinary/shared-groups.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

const key = '$share/g/open/+'
const subscription = { topic: key, qos: 1 } as const
const quiet = async (): Promise<void> => { for (let i = 0; i < 8; i++) await new Promise(resolve => { setImmediate(resolve) }) }

class Member implements Dealer {
  readonly kept: boolean
  readonly room: number
  readonly got: string[] = []
  /** What it calls when it acknowledges what it was lent. */
  readonly over: Array<() => void> = []

  constructor (kept: boolean, room: number) {
    this.kept = kept
    this.room = room
  }

  get free (): number { return this.room - this.got.length }
  give (packet: PacketLike): void { this.got.push(packet.payload.toString()) }
  lend (packet: PacketLike, over: () => void): void {
    this.over.push(over)
    this.give(packet)
  }
}

interface World { records: MemoryRecords, persistence: RecordsPersistence, router: Router, groups: SharedGroups, publish (payload: string): Promise<void> }

async function world (offlineQueue: number): Promise<World> {
  const records = new MemoryRecords()
  const persistence = recordsPersistence({ records, offlineQueue, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 10, retainedBytes: 1000, routed: true })
  await persistence.setup({ id: 'b', clients: {} })
  const router = new Router()
  const groups = new SharedGroups({ queues: persistence.shared, router, mayShare: () => true, onError: err => { throw err } })
  let counter = 0
  const publish = async (payload: string): Promise<void> => {
    const packet: PacketLike = { cmd: 'publish', topic: 'open/x', payload: Buffer.from(payload), qos: 1, retain: false }
    await persistence.leave(packet, [])
    const named = { ...packet, brokerId: 'b', brokerCounter: ++counter }
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic('open/x'), named)
    router.emit(named, () => {})
  }
  return { records, persistence, router, groups, publish }
}

await t.test('a group goes on after its only member left while a handful was on its way to it', async t => {
  const { records, persistence, groups, publish } = await world(1000)
  groups.join('a', subscription, undefined)
  await persistence.addSubscriptions({ id: 'a' }, [subscription])
  for (let i = 0; i < 40; i++) await publish(`m${i}`)
  let go = (): void => {}
  records.hold = new Promise(resolve => { go = resolve })
  groups.join('a', subscription, new Member(true, 100))
  await quiet()
  groups.disconnected('a')
  records.hold = undefined
  go()
  await quiet()
  const dealt = persistence.queueOf('a').size
  t.ok(dealt > 0, `${dealt} are in its own queue`)
  const other = new Member(false, 100)
  groups.join('b', subscription, other)
  await quiet()
  t.equal(other.got.length, 40 - dealt, 'the rest is for the next one')
  await publish('live')
  await quiet()
  t.equal(other.got.at(-1), 'live')
})

await t.test('members have what a full queue drops: others go on being dealt to', async t => {
  const { groups, publish } = await world(10)
  const [slow, quick] = [new Member(false, 10), new Member(false, 100)]
  groups.join('slow', subscription, slow)
  for (let i = 0; i < 10; i++) {
    await publish(`m${i}`)
    await quiet()
  }
  t.equal(slow.got.length, 10, 'it acknowledges nothing')
  groups.join('quick', subscription, quick)
  for (let i = 10; i < 15; i++) {
    await publish(`m${i}`)
    await quiet()
  }
  t.strictSame(quick.got, ['m10', 'm11', 'm12', 'm13', 'm14'])
})

await t.test('members that come down to QoS 0 while a message is on its way get it once', async t => {
  const { persistence, router, groups } = await world(10)
  const member = new Member(false, 10)
  groups.join('a', subscription, member)
  const packet: PacketLike = { cmd: 'publish', topic: 'open/x', payload: Buffer.from('m'), qos: 1, retain: false, brokerId: 'b', brokerCounter: 1 }
  await persistence.leave(packet, [])
  await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic('open/x'), packet)
  groups.join('a', { ...subscription, qos: 0 }, member)
  await quiet()
  router.emit(packet, () => {})
  await quiet()
  t.strictSame(member.got, ['m'])
  router.emit({ ...packet, payload: Buffer.from('at QoS 0'), qos: 0, brokerCounter: 2 }, () => {})
  t.strictSame(member.got, ['m', 'at QoS 0'])
})

await t.test('what a kept member was dealt goes back once, when its session is forgotten twice at the same time', async t => {
  const { persistence, groups, publish } = await world(10)
  groups.join('a', subscription, new Member(true, 10))
  await persistence.addSubscriptions({ id: 'a' }, [subscription])
  for (let i = 0; i < 3; i++) await publish(`m${i}`)
  await quiet()
  t.equal(persistence.queueOf('a').size, 3, 'they are in its own queue')
  groups.disconnected('a')
  const other = new Member(false, 10)
  groups.join('b', subscription, other)
  // Its connection was the last one, and another one begins anew.
  await Promise.all([groups.ended('a'), groups.ended('a')])
  await persistence.forget('a')
  await quiet()
  t.strictSame(other.got, ['m0', 'm1', 'm2'])
})

await t.test('what is acknowledged after its queue has left memory and come back is over', async t => {
  const { groups, persistence, publish } = await world(10)
  const [first, second] = [new Member(false, 10), new Member(true, 10)]
  groups.join('a', subscription, first)
  groups.join('b', subscription, undefined)
  await persistence.addSubscriptions({ id: 'b' }, [subscription])
  await publish('m0')
  await quiet()
  t.strictSame(first.got, ['m0'])
  // Nobody is there any more to deal to, but who leaves has what it was lent.
  groups.leave('a', key)
  await quiet()
  groups.join('b', subscription, second)
  await quiet()
  t.strictSame(second.got, [], 'it is under way')
  for (const over of first.over) over()
  await publish('m1')
  await quiet()
  t.strictSame(second.got, ['m1'])
})

await t.test('what a group took above QoS 0 is dealt once, also when its last member above QoS 0 leaves before it is sent on', async t => {
  const { persistence, router, groups } = await world(1000)
  const [low, high] = [new Member(false, 100), new Member(false, 100)]
  groups.join('low', { topic: key, qos: 0 }, low)
  for (const late of [false, true]) {
    groups.join('high', subscription, high)
    await quiet()
    const packet: PacketLike = { cmd: 'publish', topic: 'open/x', payload: Buffer.from(`late ${late}`), qos: 1, retain: false }
    await persistence.leave(packet, [])
    groups.leave('high', key)
    // It is dealt before Aedes comes with it, or behind that.
    if (late) await quiet()
    const named = { ...packet, brokerId: 'b', brokerCounter: Number(late) }
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic('open/x'), named)
    router.emit(named, () => {})
    await quiet()
    groups.leave('high', key)
  }
  t.strictSame([low.got, high.got], [['late false', 'late true'], []])
})
