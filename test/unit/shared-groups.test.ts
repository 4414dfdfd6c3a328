/** Groups of shared subscriptions against a model: members come and go, acknowledge or not, and the server ends now and then. */
import { EventEmitter } from 'node:events'
import t from 'tap'
import type { PacketLike } from '../../broker/ordinary/persistence-packets.ts'
import { recordsPersistence, type RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { Router } from '../../broker/ordinary/router.ts'
import type { Dealer } from '../../broker/ordinary/shared-group.ts'
import { SharedGroups } from '../../broker/ordinary/shared-groups.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

const key = '$share/g/open/+'
const quiet = async (): Promise<void> => { for (let i = 0; i < 6; i++) await new Promise(resolve => { setImmediate(resolve) }) }

class World {
  readonly records = new MemoryRecords()
  readonly errors: Error[] = []
  /** Those that Aedes has. */
  readonly clients: Record<string, Member> = {}
  persistence!: RecordsPersistence
  groups!: SharedGroups
  router!: Router
  #counter = 0

  async start (): Promise<void> {
    this.persistence = recordsPersistence({ records: this.records, offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 10, retainedBytes: 1000, routed: true })
    await this.persistence.setup({ id: 'b', clients: this.clients })
    this.router = new Router()
    this.groups = new SharedGroups({ queues: this.persistence.shared, router: this.router, mayShare: () => true, onError: err => { this.errors.push(err) } })
    this.groups.restore()
  }

  /** As Aedes does it. */
  async publish (payload: string, qos: 1 | 2): Promise<void> {
    const packet: PacketLike = { cmd: 'publish', topic: 'open/x', payload: Buffer.from(payload), qos, retain: false }
    await this.persistence.leave(packet, [])
    const named = { ...packet, brokerId: 'b', brokerCounter: ++this.#counter }
    await this.persistence.outgoingEnqueueCombi(await this.persistence.subscriptionsByTopic('open/x'), named)
    this.router.emit(named, () => {})
  }
}

class Member implements Dealer {
  readonly kept: boolean
  readonly room: number
  readonly session: string
  readonly world: World
  readonly client: { id: string, clean: boolean, conn: EventEmitter }
  /** Sent to it on this connection and not answered: how to answer. */
  readonly open = new Map<string, () => Promise<void> | void>()
  /** Everything that it was ever sent. */
  readonly seen: string[] = []
  connected = true
  #id = 1
  #coming = 0

  constructor (world: World, session: string, kept: boolean, room: number) {
    this.world = world
    this.session = session
    this.kept = kept
    this.room = room
    this.client = { id: session, clean: !kept, conn: new EventEmitter() }
    world.clients[session] = this
  }

  get free (): number { return this.room - this.open.size - this.#coming }

  give (packet: PacketLike): void {
    const text = packet.payload.toString()
    const own = { ...packet, messageId: this.#id++ }
    this.#coming++
    this.world.persistence.outgoingUpdate(this.client, own).then(() => {
      this.#coming--
      if (!this.connected) return
      this.seen.push(text)
      this.open.set(text, async () => { await this.world.persistence.outgoingClearMessageId(this.client, own) })
    }, (err: Error) => { this.world.errors.push(err) })
  }

  lend (packet: PacketLike, over: () => void): void {
    const text = packet.payload.toString()
    this.seen.push(text)
    this.open.set(text, over)
  }

  async answer (): Promise<string | undefined> {
    const [text, end] = this.open.entries().next().value ?? []
    if (text === undefined || end === undefined) return undefined
    this.open.delete(text)
    await end()
    this.world.groups.wake(this.session)
    return text
  }

  /** Sends what its own queue holds, as on a new connection. */
  async resume (): Promise<void> {
    for await (const one of this.world.persistence.outgoingStream(this.client) as AsyncIterable<PacketLike>) {
      const text = one.payload?.toString() ?? ''
      await this.world.persistence.outgoingUpdate(this.client, one)
      this.seen.push(text)
      this.open.set(text, async () => { await this.world.persistence.outgoingClearMessageId(this.client, one) })
    }
  }
}

await t.test('no message is lost, none at QoS 2 has two receivers, and nobody is sent more than it has room for', async t => {
  let seed = 11
  const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
  for (let history = 0; history < 60; history++) {
    const world = new World()
    await world.start()
    // One that is always a member: the group does not end.
    const anchor = new Member(world, 'anchor', true, 2)
    let members: Member[] = []
    const all: Member[] = []
    const [published, answered] = [new Map<string, 1 | 2>(), new Map<string, string[]>()]
    /** Sent at QoS 2 to a session that has ended, or to a clean one: the group has done with it. */
    const gone = new Set<string>()
    const join = async (member: Member): Promise<void> => {
      if (member.kept) await world.persistence.addSubscriptions({ id: member.session }, [{ topic: key, qos: 2 }])
      world.groups.join(member.session, { topic: key, qos: 2 }, member)
      members.push(member)
      all.push(member)
    }
    const part = async (member: Member): Promise<void> => {
      member.connected = false
      Reflect.deleteProperty(world.clients, member.session)
      members = members.filter(one => one !== member)
      for (const text of [...member.seen]) if (published.get(text) === 2) gone.add(text)
      world.groups.disconnected(member.session)
      await world.groups.ended(member.session)
      await world.persistence.forget(member.session)
    }
    const answerOne = async (member: Member): Promise<void> => {
      const text = await member.answer()
      if (text !== undefined) answered.set(text, [...answered.get(text) ?? [], member.session])
    }
    await join(anchor)
    for (let step = 0; step < 40; step++) {
      const one = members[random(members.length)] as Member
      switch (random(7)) {
        case 0: case 1: case 2: {
          const text = `m${published.size}`
          const qos = random(3) === 0 ? 2 : 1
          published.set(text, qos)
          await world.publish(text, qos)
          break
        }
        case 3: if (members.length < 5) await join(new Member(world, `s${history}.${step}`, random(2) === 0, 1 + random(3))); break
        case 4: if (one !== anchor) await part(one); break
        default: await answerOne(one)
      }
      if (random(3) === 0) await quiet()
      for (const member of members) if (member.open.size > member.room) t.fail(`${member.session} has ${member.open.size} of ${member.room}`)
    }
    for (const member of members.filter(member => member !== anchor)) await part(member)
    for (let i = 0; i < 200; i++) {
      await quiet()
      await answerOne(anchor)
    }
    for (const [text, qos] of published) {
      const by = answered.get(text) ?? []
      const seenBy = all.filter(({ seen }) => seen.includes(text)).map(({ session }) => session)
      if (qos === 2 && seenBy.length > 1) t.fail(`history ${history}: ${text} at QoS 2 was sent to ${seenBy.join(', ')}`)
      if (qos === 2 && gone.has(text)) continue
      if (by.length === 0) t.fail(`history ${history}: ${text} at QoS ${qos} is lost`)
    }
    if (world.persistence.queueOf(key).size > 0) t.fail(`history ${history}: ${world.persistence.queueOf(key).size} are left`)
    t.strictSame(world.errors, [])
  }
})

await t.test('what was dealt to a kept member is its own over the end of the server; what was lent is the group\'s', async t => {
  const world = new World()
  await world.start()
  const [kept, clean] = [new Member(world, 'kept', true, 10), new Member(world, 'clean', false, 10)]
  await world.persistence.addSubscriptions({ id: 'kept' }, [{ topic: key, qos: 1 }])
  for (const one of [kept, clean]) world.groups.join(one.session, { topic: key, qos: 1 }, one)
  for (let i = 0; i < 6; i++) {
    await world.publish(`m${i}`, 1)
    await quiet()
  }
  const [mine, lent] = [[...kept.seen], [...clean.seen]]
  t.ok(mine.length > 0 && lent.length > 0)
  await world.start()
  const back = new Member(world, 'kept', true, 10)
  await back.resume()
  t.strictSame(back.seen, mine)
  world.groups.join('kept', { topic: key, qos: 1 }, back)
  await quiet()
  t.strictSame([...back.seen].sort(), [...mine, ...lent].sort())
})

await t.test('while the store is away nothing is dealt, and all of it later', async t => {
  const world = new World()
  await world.start()
  const member = new Member(world, 'kept', true, 10)
  await world.persistence.addSubscriptions({ id: 'kept' }, [{ topic: key, qos: 1 }])
  world.groups.join('kept', { topic: key, qos: 1 }, undefined)
  await world.publish('m', 1)
  world.records.failure = new Error('disk full')
  world.groups.join('kept', { topic: key, qos: 1 }, member)
  await quiet()
  t.strictSame([member.seen, world.errors.length], [[], 1])
  world.records.failure = undefined
  for (let i = 0; member.seen.length === 0 && i < 100; i++) await new Promise(resolve => setTimeout(resolve, 50))
  t.strictSame([member.seen, world.persistence.queueOf(key).size], [['m'], 0])
})

await t.test('a queue that nobody is in any more goes at the start', async t => {
  const world = new World()
  await world.start()
  world.groups.join('clean', { topic: key, qos: 1 }, new Member(world, 'clean', false, 0))
  await world.publish('m', 1)
  t.equal(world.persistence.queueOf(key).size, 1)
  await world.start()
  t.equal(world.persistence.queueOf(key).size, 0)
  await world.persistence.write([])
  t.strictSame([...world.records.rows.keys()], [])
})
