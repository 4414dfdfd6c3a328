/**
 * Two server processes on one database, both of which believe to own every conversation, under load: everybody writes through
 * both, to the same conversations, some messages (with `cid`) through both at once.
 *
 * Promised, and shown here from the log as a third process reads it afterwards: numbers are unique and have no gaps, nothing is
 * stored twice (but what ADR 4 leaves open: without `cid`, and without an answer on two connections), each PUBACK named the id and
 * number of the message as it is stored, and what one connection sent is in its order.
 * Not promised as long as nodes do not know of each other: that a device at one server hears at once of what came in at the other,
 * and one client id connected to both (the second connection does not end the first). Each user has a client id of its own at each
 * server here, and nobody subscribes.
 *
 * `SABETHES_TEST_SECONDS`: length of the load (default 8; the bar is 30).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { merge, wide } from '../support/configs.ts'
import type { Place } from '../support/load.ts'
import { until } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { device } from '../support/mqtt.ts'
import { history, people, settle } from '../support/places.ts'
import type { Told } from '../support/places.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 8)
/** Between two sends of a person. */
const pauseMs = 100
t.setTimeout((seconds + 170) * 1000)
const mongodb = await mongodbServer(t)

interface Message { conv: string, topic: string, body: string, cid: string | undefined, shared: boolean }

/** A user's connection to one of the servers. What is not acknowledged when it ends is sent again, with DUP, in order. */
class Publisher {
  readonly user: string
  readonly sent: Message[] = []
  /** What the PUBACKs said. */
  readonly told = new Map<Message, { id: string, seq: number }>()
  readonly refused: string[] = []
  /** Without `cid` and on two connections without an answer: they may be stored twice (ADR 4). */
  readonly mayRepeat = new Set<string>()
  readonly #open = new Map<number, Message>()
  readonly #unanswered = new Map<Message, number>()
  #client: RawClient | undefined
  readonly #running: Promise<void>
  #stopped = false
  #nextId = 0
  /** How often it had to connect again. */
  reconnects = -1

  constructor (t: Test, port: number, user: string, clientId: string) {
    this.user = user
    this.#running = this.#run(t, port, clientId)
    t.teardown(async () => { await this.end() })
  }

  async end (): Promise<void> {
    this.#stopped = true
    this.#client?.cut()
    await this.#running
  }

  get ready (): boolean { return this.#client !== undefined && this.#open.size < 4 }
  get idle (): boolean { return this.#open.size === 0 }

  send (message: Message): void {
    this.sent.push(message)
    this.#open.set(++this.#nextId, message)
    this.#write(this.#nextId, message, false)
  }

  #write (messageId: number, { topic, body, cid }: Message, dup: boolean): void {
    const payload = cid === undefined ? body : JSON.stringify({ cid, body })
    this.#client?.send({ cmd: 'publish', topic, payload, qos: 1, dup, retain: false, messageId })
  }

  async #run (t: Test, port: number, clientId: string): Promise<void> {
    while (!this.#stopped) {
      await this.#live(t, port, clientId).catch((cause: Error) => { if (!/the connection is closed/.test(cause.message)) this.refused.push(cause.message) })
      this.#client = undefined
      for (const message of this.#open.values()) {
        const times = (this.#unanswered.get(message) ?? 0) + 1
        this.#unanswered.set(message, times)
        if (times > 1 && message.cid === undefined) this.mayRepeat.add(message.body)
      }
      if (!this.#stopped) await sleep(100)
    }
  }

  async #live (t: Test, port: number, clientId: string): Promise<void> {
    const hello = { version: 5, user: this.user, clientId, clean: false, properties: { sessionExpiryInterval: 3600 } } as const
    const { client } = await RawClient.connect(t, port, hello)
    this.reconnects++
    this.#client = client
    for (const [messageId, message] of this.#open) this.#write(messageId, message, true)
    for (;;) {
      const packet = await client.packets.take(undefined, 600_000)
      if (packet.cmd === 'publish') this.refused.push(packet.payload.toString())
      if (packet.cmd !== 'puback') continue
      const message = this.#open.get(packet.messageId as number)
      const { id, seq } = packet.properties?.userProperties as { id: string, seq: string }
      if (message === undefined || (packet.reasonCode ?? 0) !== 0) this.refused.push(`PUBACK ${packet.messageId}: ${packet.reasonCode}`)
      else this.told.set(message, { id, seq: Number(seq) })
      this.#open.delete(packet.messageId as number)
    }
  }
}

/** One person at both servers: every third message goes to both, others go to the one or the other, with `cid` or without. */
async function chat (user: string, pair: readonly [Publisher, Publisher], places: readonly Place[], until: number): Promise<void> {
  for (let count = 1; Date.now() < until; await sleep(pauseMs)) {
    const { conv, topic } = places[count % places.length] as Place
    const shared = count % 3 === 0
    const through = shared ? [...pair] : [pair[Math.floor(Math.random() * 2)] as Publisher]
    if (!through.every(one => one.ready)) continue
    const message = { conv, topic, body: `${user} ${count}`, cid: shared || Math.random() < 0.5 ? `c-${count}` : undefined, shared }
    for (const one of through) one.send(message)
    count++
  }
}

/**
 * A message that is sent again at the other server, which has written the conversation since: no number is taken there, so that
 * its key alone tells that it is a repeat.
 */
async function repeat (user: string, [left, right]: readonly [Publisher, Publisher], { conv, topic }: Place): Promise<void> {
  const message = { conv, topic, body: `${user} again`, cid: 'again', shared: true }
  const turns: Array<[Publisher, Message]> = [[left, message], [right, { conv, topic, body: `${user} between`, cid: undefined, shared: false }], [right, message]]
  for (const [one, what] of turns) {
    one.send(what)
    await until(() => one.idle, 30_000, `the acknowledgement of ${what.body}`)
  }
}

await t.test(`two servers, ${seconds} s`, { skip: mongodb === undefined, timeout: (seconds + 150) * 1000 }, async t => {
  if (mongodb === undefined) return
  const config = merge(wide, { store: { driver: 'mongodb', url: mongodb.url, database: mongodb.database, timeoutMs: 20_000 } })
  const folder = t.testdirName
  /** Each has folders of its own; the database is what they share. */
  const start = async (name: string): Promise<Server> => {
    t.testdirName = `${folder}-${name}`
    return await startServer(t, { config })
  }
  const servers = [await start('left'), await start('right')] as const
  const { conversations, places } = await settle(t, servers[0].url)
  const pairs = people.map(user => [new Publisher(t, servers[0].mqttPort, user, 'left'), new Publisher(t, servers[1].mqttPort, user, 'right')] as const)
  const publishers = pairs.flat()
  await until(() => publishers.every(one => one.ready), 30_000, 'all connections')
  const end = Date.now() + seconds * 1000
  await Promise.all(people.map(async (user, i) => { await chat(user, pairs[i] as [Publisher, Publisher], places.get(user) as Place[], end) }))
  await until(() => publishers.every(one => one.idle), 90_000, 'the last acknowledgements')
  for (const [i, user] of people.entries()) await repeat(user, pairs[i] as [Publisher, Publisher], places.get(user)?.[0] as Place)
  for (const one of publishers) await one.end()
  for (const server of servers) await server.stop()

  t.same(publishers.flatMap(one => one.refused), [], 'nobody was refused')
  const total = new Set(publishers.flatMap(one => one.sent)).size
  t.equal(new Set(publishers.flatMap(one => [...one.told.keys()])).size, total)
  t.ok(publishers.every(one => one.told.size === one.sent.length), 'every publisher has a PUBACK for everything')
  const fresh = await start('fresh')
  const left = new Set(pairs.flatMap(([one]) => one.sent).filter(one => !one.shared).map(one => one.body))
  let turns = 0
  for (const { conv, members } of conversations) {
    const reader = await device(t, fresh.url, members[0] as string, { clientId: 'historian' })
    const log = await history(reader, conv)
    const { conversations: list } = await reader.result<{ conversations: Array<{ conv: string, seq: number, readSeq: number }> }>('conversations.list')
    await reader.end()
    t.same(log.map(one => one.seq), log.map((_, i) => i + 1), `${conv}: ${log.length} numbers without gaps`)
    t.equal(new Set(log.map(one => one.id)).size, log.length, 'and as many ids')
    checkLog(t, log, publishers.map(one => ({ user: one.user, of: one.sent.filter(message => message.conv === conv), told: one.told })), new Set(publishers.flatMap(one => [...one.mayRepeat])))
    const own = log.findLast(one => one.from === members[0])?.seq ?? 0
    const sides = log.filter(one => one.type === 'text').map(one => left.has(one.body))
    turns += sides.filter((side, i) => i > 0 && side !== sides[i - 1]).length
    const shown = list.find(one => one.conv === conv)
    t.equal(shown?.seq, log.length, 'the list of conversations knows the last number')
    t.ok((shown?.readSeq ?? 0) >= own, `and one's own sending as read: ${shown?.readSeq} of ${own}`)
  }
  const shared = pairs.flatMap(([one]) => one.sent).filter(one => one.shared).length
  t.ok(shared > 0 && turns > 0, 'the servers did meet')
  t.comment(`${total} messages, ${shared} of them through both servers; the writer changed about ${turns} times; ${publishers.reduce((sum, one) => sum + one.reconnects, 0)} reconnects`)
})

/** Holds the log of a conversation against what each publisher sent to it, in the order of sending, and was told. */
function checkLog (t: Test, log: readonly Told[], publishers: ReadonlyArray<{ user: string, of: Message[], told: ReadonlyMap<Message, { id: string, seq: number }> }>, mayRepeat: ReadonlySet<string>): void {
  const texts = log.filter(one => one.type === 'text')
  const at = new Map(texts.map(one => [one.body, one]))
  const twice = texts.filter((one, i) => texts.findIndex(({ body }) => body === one.body) !== i)
  t.same(twice.filter(one => !mayRepeat.has(one.body)), [], 'no message twice')
  t.same([...at.keys()].sort(), [...new Set(publishers.flatMap(({ of }) => of.map(one => one.body)))].sort(), 'what was sent, and nothing else')
  const wrong: string[] = []
  for (const { user, of, told } of publishers) {
    let [last, lastShared] = [0, 0]
    for (const message of of) {
      if (twice.some(({ body }) => body === message.body)) continue
      const stored = at.get(message.body)
      const puback = told.get(message)
      if (stored === undefined || stored.from !== user || stored.id !== puback?.id || stored.seq !== puback.seq) {
        wrong.push(`${message.body}: stored as ${JSON.stringify(stored)}, acknowledged as ${JSON.stringify(puback)}`)
        continue
      }
      // What goes through both may come in first at the other one: before what this one sent ahead of it, but not before what
      // was ahead of it on both ways.
      if (stored.seq < (message.shared ? lastShared : last)) wrong.push(`${message.body} is ${stored.seq}, behind one that was sent later`)
      last = Math.max(last, stored.seq)
      if (message.shared) lastShared = stored.seq
    }
  }
  t.same(wrong.slice(0, 20), [], `each as it was acknowledged, in the order of its connection: ${wrong.length} are not`)
}
