/**
 * Random lives of one device against the server's gateway, engine and store: packet ids and words that come again and again,
 * connections that break with the server having read what was sent or not, answers that arrive or not, apps that begin
 * anew, DISCONNECTs, clean starts, connections on which the store takes nothing, and ends of the server that store no end of a session. Whatever is acknowledged is stored, and a
 * resend on the next connection is the same message.
 */
import fc from 'fast-check'
import pino from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { Gateway } from '../../broker/gateway/gateway.ts'
import { OpenTopics } from '../../broker/gateway/open-topics.ts'
import { createEngine } from '../../broker/engine/engine.ts'
import type { Engine } from '../../broker/link/port.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { Topics } from '../../broker/topics.ts'
import { limits } from '../support/engine-bench.ts'
import { MemoryClient, wideLimits } from '../support/memory-client.ts'

const words = ['ok', 'no'] as const
const packetIds = 3

/** One message as its sender knows it; `most` is how often it may be stored, `excused` that it may be taken for another. */
interface Sent { word: string, packetId: number, qos: 1 | 2, read: boolean, acknowledged: boolean, most: number, excused: boolean }

type Step =
  | { kind: 'publish', word: number, qos: 1 | 2, read: boolean, heard: boolean }
  | { kind: 'break', how: 'cut' | 'disconnect' | 'crash', again: 'resumed' | 'clean' | 'new app', fails: Array<number | undefined>, read: boolean }

const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('publish' as const), word: fc.nat(1), qos: fc.constantFrom(1 as const, 1 as const, 2 as const), read: fc.boolean(), heard: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('break' as const),
      how: fc.constantFrom('cut' as const, 'cut' as const, 'disconnect' as const, 'crash' as const),
      again: fc.constantFrom('resumed' as const, 'resumed' as const, 'resumed' as const, 'clean' as const, 'new app' as const),
      // Connections on which the store takes nothing; on some of them something new is said.
      fails: fc.oneof({ weight: 2, arbitrary: fc.constant<Array<number | undefined>>([]) }, fc.array(fc.option(fc.nat(1), { nil: undefined }), { maxLength: 3 })),
      read: fc.boolean()
    })
  }
), { minLength: 4, maxLength: 24 })

class World {
  readonly all: Sent[] = []
  /** By packet id: what the app has not seen the answer to, in the order of sending. */
  open = new Map<number, Sent>()
  readonly #store: Store
  /** The store takes no commit. */
  #full = false
  #access: Gateway | undefined
  #engine: Awaited<ReturnType<typeof createEngine>> | undefined
  #crashing = false
  #client: MemoryClient | undefined
  /** From now on nothing of the client reaches the server, or nothing of the server the client. */
  #mute = false
  #deaf = false
  /** What this connection was told was stored, by packet id and word; without those that the server knows to be heard. */
  #unproven = new Set<string>()
  /** The same, with those. */
  #answered = new Set<string>()
  readonly #subscribes: boolean

  constructor (store: Store, subscribes: boolean) {
    this.#store = new Proxy(store, {
      get: (target, key) => {
        if (key === 'commit' && this.#full) return async () => { throw new Error('full') }
        const value = Reflect.get(target, key) as unknown
        return typeof value === 'function' ? value.bind(target) as unknown : value
      }
    })
    this.#subscribes = subscribes
  }

  async begin (): Promise<void> {
    const topics = new Topics()
    const log = pino({ level: 'silent' })
    const engine = await createEngine({ store: this.#store, limits, mode: 'dev', log, plugins: [], receiptIntervalMs: 10, output: outputs => { this.#access?.output(outputs) } })
    // A server that dies stores no end of a session.
    const mortal: Engine = { ...engine, closeSession: async end => { if (!this.#crashing) await engine.closeSession(end) } }
    this.#crashing = false
    this.#access = new Gateway({ engine: mortal, serverInfo: {}, now: Date.now, topics, openTopics: new OpenTopics([], topics.prefix), ordinary: undefined, limits: wideLimits, log, anonymous: false })
    this.#engine = engine
  }

  async end (): Promise<void> {
    await this.#access?.close()
    await this.#engine?.close()
  }

  async connect (clean: boolean, read: boolean, fresh?: { packetId: number, word: string }): Promise<void> {
    this.#mute = this.#deaf = false
    this.#unproven.clear()
    this.#answered.clear()
    this.#client = new MemoryClient(this.#access as Gateway, {})
    await this.#client.connect('alice', { clean: false })
    if (clean) throw new Error('a clean start is a connection of its own')
    if (this.#subscribes) await this.#client.subscribe('im/u/alice/inbox')
    this.#mute = !read
    for (const [packetId, sent] of this.open) this.#transmit(packetId, sent, true)
    if (fresh !== undefined) {
      const { packetId, word } = fresh
      const sent: Sent = { word, packetId, qos: 1, read: false, acknowledged: false, most: 0, excused: false }
      this.all.push(sent)
      this.open.set(packetId, sent)
      this.#transmit(packetId, sent, false)
    }
    await this.#settle()
  }

  /** A connection on which the store takes nothing. */
  async fail (word: number | undefined): Promise<void> {
    this.#full = true
    const packetId = word === undefined ? undefined : this.#freeId()
    await this.connect(false, true, packetId === undefined ? undefined : { packetId, word: words[word as number] as string })
    this.#client?.lose()
    this.#full = false
  }

  async cleanStart (): Promise<void> {
    const client = new MemoryClient(this.#access as Gateway, {})
    await client.connect('alice', { clean: true })
    client.lose()
    // What is open may be stored once more: the server was told to forget.
    for (const sent of this.open.values()) sent.most++
  }

  async publish (step: Extract<Step, { kind: 'publish' }>): Promise<void> {
    const packetId = this.#freeId()
    if (packetId === undefined) return
    const word = words[step.word] as string
    // What nobody can tell apart (docs/adr/0004): the same words with the same packet id, on the connection of the first, unheard of.
    const alike = this.#unproven.has(`${packetId} ${word}`)
    if (alike && this.#mute) return
    const read = step.read || alike
    this.#mute ||= !read
    this.#deaf ||= !step.heard
    const sent: Sent = { word, packetId, qos: step.qos, read: false, acknowledged: false, most: 0, excused: false }
    this.all.push(sent)
    this.open.set(packetId, sent)
    this.#transmit(packetId, sent, false)
    await this.#settle()
  }

  async break (how: 'cut' | 'disconnect' | 'crash'): Promise<void> {
    if (how === 'disconnect' && !this.#mute) {
      this.#client?.send({ cmd: 'disconnect' })
      for (const sent of this.open.values()) sent.most++
    }
    this.#crashing = how === 'crash'
    this.#client?.lose()
    if (how === 'crash') {
      // What the server learnt in the last second is lost with it.
      for (const sent of this.open.values()) sent.excused ||= !sent.read && this.#answered.has(`${sent.packetId} ${sent.word}`)
      await this.end()
      await this.begin()
    }
  }

  /** What is wrong with what is stored. */
  async wrong (): Promise<string[]> {
    const stored = await this.#store.messages('d:alice:bob', { limit: 1000 })
    return words.flatMap(word => {
      const count = stored.filter(one => one.content.includes(`"body":"${word}"`)).length
      const mine = this.all.filter(one => one.word === word)
      const least = mine.filter(one => one.acknowledged && !one.excused).length
      const most = mine.reduce((sum, one) => sum + one.most, 0)
      return count < least ? [`${word}: ${least} acknowledged, ${count} stored`] : count > most ? [`${word}: ${count} stored, ${most} explained`] : []
    })
  }

  #freeId (): number | undefined {
    for (let id = 1; id <= packetIds; id++) if (!this.open.has(id)) return id
    return undefined
  }

  #transmit (packetId: number, sent: Sent, dup: boolean): void {
    if (sent.qos === 2 && sent.acknowledged) {
      if (!this.#mute) this.#client?.send({ cmd: 'pubrel', messageId: packetId })
      return
    }
    if (this.#mute) {
      // A connection passed without it: what was in doubt may be stored anew.
      if (dup && sent.read) sent.most++
      return
    }
    // What the store does not take may be stored by a later try, once.
    if (!this.#full) {
      if (!sent.read) sent.most++
      sent.read = true
    }
    this.#client?.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: sent.word, qos: sent.qos, dup, retain: false, messageId: packetId })
  }

  /** Lets the server answer, and the client hear it. */
  async #settle (): Promise<void> {
    for (let quiet = 0; quiet < 20;) {
      await new Promise<void>(resolve => { setImmediate(resolve) })
      quiet = this.#access?.pending.size === 0 ? quiet + 1 : 0
    }
    for (const packet of this.#client?.packets.waiting.splice(0) ?? []) {
      if (this.#deaf) continue
      if (packet.cmd === 'puback' || packet.cmd === 'pubrec') {
        const sent = this.open.get(packet.messageId as number)
        if (sent === undefined) continue
        sent.acknowledged = true
        this.#answered.add(`${sent.packetId} ${sent.word}`)
        if (sent.qos === 1) {
          this.open.delete(sent.packetId)
          this.#unproven.add(`${sent.packetId} ${sent.word}`)
        } else if (!this.#mute) {
          this.#client?.send({ cmd: 'pubrel', messageId: sent.packetId })
          this.#unproven.clear()
        }
      } else if (packet.cmd === 'pubcomp') {
        this.open.delete(packet.messageId as number)
      } else if (packet.cmd === 'publish' && packet.qos === 1 && !this.#mute) {
        this.#client?.ack(packet)
        this.#unproven.clear()
      }
    }
  }

  newApp (): void { this.open = new Map() }
}

/** Runs one life; what is wrong with it. */
async function life (t: Test, run: number, subscribes: boolean, todo: Step[]): Promise<string[]> {
  const store = await openLevelStore({ path: `${t.testdirName}/${run}` })
  const world = new World(store, subscribes)
  try {
    await world.begin()
    await world.connect(false, true)
    for (const step of todo) {
      if (step.kind === 'publish') {
        await world.publish(step)
        continue
      }
      await world.break(step.how)
      if (step.again === 'clean') await world.cleanStart()
      if (step.again === 'new app') world.newApp()
      for (const word of step.fails) await world.fail(word)
      await world.connect(false, step.read)
    }
    await world.break('cut')
    // At last everything is read and heard.
    await world.connect(false, true)
    await world.end()
    return await world.wrong()
  } finally {
    await store.close()
  }
}

await t.test('what is acknowledged is stored, and a resend on the next connection is the same message', async t => {
  t.testdir()
  let run = 0
  await fc.assert(fc.asyncProperty(fc.boolean(), steps, async (subscribes, todo) => {
    const wrong = await life(t, run++, subscribes, todo)
    if (wrong.length > 0) throw new Error(wrong.join('; '))
  }), { numRuns: Number(process.env['FC_RUNS'] ?? 40), endOnFailure: process.env['FC_SHRINK'] === undefined, ...(process.env['FC_SEED'] === undefined ? {} : { seed: Number(process.env['FC_SEED']) }) })
})
