/** What ordinary topics keep when several servers share it: in Redis, in the form of aedes-persistence-redis. Stands for `RecordsPersistence` there. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { RedisClient } from '../../cluster/redis.ts'
import type { ClientLike } from '../persistence-gates.ts'
import type { Persistence } from '../persistence-interface.ts'
import type { PersistenceOptions } from '../persistence-options.ts'
import { bodyOf, encode, type PacketLike } from '../persistence-packets.ts'
import { mergeRecipients } from '../persistence-recipients.ts'
import type { RecordChange, RecordsLike } from '../persistence-records.ts'
import type { FoundRetained } from '../persistence-retained.ts'
import type { SubscriptionLike } from '../persistence-subscriptions.ts'
import { AnsweredElsewhere } from './answered-elsewhere.ts'
import { ChangeLog } from './change-log.ts'
import { Commits, type Write } from './commits.ts'
import { dropExpired, endSession, trimQueues } from './cleaning.ts'
import { IncomingIds } from './incoming.ts'
import { sessionsKey, type Recorder } from './library.ts'
import { SessionQueue } from './session-queue.ts'
import { recipientsOf, Tables, type Recipients } from './tables.ts'

export interface RedisPersistenceOptions extends Pick<PersistenceOptions, 'offlineQueue' | 'retained' | 'retainedBytes' | 'onDrop'> {
  /** With the prefix of the keys. */
  redis: RedisClient
  /** The store's, where wills are. */
  records: Pick<RecordsLike, 'write'>
  /** Milliseconds for which a write is tried while Redis is away. */
  timeoutMs: number
  onError: (error: unknown) => void
}

/** Seconds for which a will is known to be sent. */
const willSeconds = 86_400
/** Milliseconds between two looks at the change log when nothing is written. */
const lookMs = 1_000

export class RedisPersistence extends AnsweredElsewhere implements Persistence {
  readonly #options: RedisPersistenceOptions
  readonly #log: ChangeLog
  readonly #commits: Commits
  readonly #incoming: IncomingIds
  readonly #queues = new Map<string, SessionQueue>()
  /** Payloads of messages that are written. */
  readonly #prepared = new WeakSet<Buffer>()
  readonly #name = randomBytes(8).toString('hex')
  readonly #dropExpired = (topic: string): void => { dropExpired(this.#options.redis, topic).catch(this.#options.onError) }
  #tables: Tables
  #packets = 0
  #dropped = 0
  #loading: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #destroyed = false

  constructor (options: RedisPersistenceOptions) {
    super()
    this.#options = options
    const { redis, timeoutMs, offlineQueue } = options
    this.#tables = this.#newTables()
    this.#log = new ChangeLog(change => { this.#tables.take(change) }, emptied => { this.#reload(emptied) })
    this.#commits = new Commits({ redis, log: this.#log, timeoutMs, maxQueued: offlineQueue, onLong: queues => { this.#trim(queues) } })
    this.#incoming = new IncomingIds(redis, this.#commits)
  }

  #newTables (): Tables {
    const { redis, retained, retainedBytes } = this.#options
    return new Tables(redis, { max: retained, maxBytes: retainedBytes })
  }

  /** Reads what is there. Rejects when Redis does not answer. */
  async open (): Promise<void> {
    await this.#load()
    this.#schedule()
  }

  async #load (): Promise<void> {
    const { redis } = this.#options
    const tables = this.#newTables()
    const number = await ChangeLog.numberIn(redis)
    await tables.load(this.#dropExpired)
    this.#tables = tables
    this.#log.startAt(number)
  }

  /** Too much was missed, or Redis has lost what it had: then whoever still knows the subscriptions writes them again. */
  #reload (emptied: boolean): void {
    const before = this.#tables
    this.#loading ??= this.#load().then(async () => {
      if (emptied) await this.#restore(before)
      this.wakeAll()
      await this.#look()
    }).catch(this.#options.onError).finally(() => { this.#loading = undefined })
  }

  async #restore ({ sessions, subscriptions }: Tables): Promise<void> {
    for (const session of sessions) await this.addSubscriptions({ id: session }, subscriptions.of(session))
  }

  #schedule (): void {
    if (this.#destroyed) return
    this.#timer = setTimeout(() => { this.#look().catch((error: unknown) => { this.#options.onError(error) }).finally(() => { this.#schedule() }) }, lookMs)
    this.#timer.unref()
  }

  async #look (): Promise<void> { if (this.#options.redis.status === 'ready') await this.#commits.write(() => {}) }

  // ---- publishing

  /** As that of `RecordsPersistence`: resolves when what the message leaves behind is in Redis. Rejects when it is not, as far as is known. */
  prepare (client: ClientLike | null, packet: PacketLike): Promise<void> | undefined {
    if (packet.qos !== 1) return undefined
    return this.#commit(client?.id ?? packet.clientId ?? '', packet)
  }

  async leave (packet: PacketLike, changes: RecordChange[]): Promise<void> {
    const { redis, records } = this.#options
    // The row of a will is in the database: what was written here before it could be removed there is not written twice.
    const mark = `will:${changes[0]?.key ?? ''}`
    if (await redis.exists(mark) === 0) await this.#commit(packet.clientId ?? '', packet, recorder => { recorder.add('set', mark, 1, 'EX', willSeconds) })
    else this.#view(packet)
    await records.write(changes, true)
  }

  async write (changes: RecordChange[]): Promise<void> { await this.#options.records.write(changes, true) }

  async #commit (publisher: string, packet: PacketLike, more?: Write): Promise<void> {
    this.#view(packet)
    const recipients = recipientsOf(() => this.#tables, packet, publisher)
    const retained = packet.retain && this.#mayRetain(packet)
    // What nobody keeps goes on while Redis is away.
    const optional = recipients().size === 0 && !retained && more === undefined
    if (optional && (this.#commits.away || this.#options.redis.status !== 'ready')) return
    await this.#commits.write(async recorder => {
      await this.#enqueue(recorder, packet, recipients())
      if (retained) await this.#retain(recorder, packet)
      await more?.(recorder)
    }, { optional, reads: packet.qos > 0 })
  }

  /** A view of its own, by which Aedes' packets are known again. */
  #view (packet: PacketLike): void {
    const { payload } = packet
    packet.payload = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload.buffer, payload.byteOffset, payload.length)
    this.#prepared.add(packet.payload)
  }

  async #enqueue (recorder: Recorder, packet: PacketLike, recipients: Recipients): Promise<void> {
    const redis = await recorder.writer()
    const plain = bodyOf(packet)
    for (const [session, { qos, rap, identifiers }] of recipients) {
      const properties = identifiers.length > 0 ? { ...plain.properties, subscriptionIdentifier: identifiers } : plain.properties
      const payload = encode({ ...plain, qos, retain: rap && packet.retain, ...properties !== undefined && { properties } })
      const stored = { cmd: 'publish', brokerId: this.#name, brokerCounter: ++this.#packets, topic: packet.topic, payload, qos, retain: false, ...plain.messageExpiry !== undefined && { messageExpiry: plain.messageExpiry } }
      await redis.outgoingEnqueue({ clientId: session }, stored)
    }
  }

  #mayRetain ({ topic, payload }: PacketLike): boolean {
    if (payload.length === 0 || this.#tables.retained.fits(topic, Buffer.byteLength(payload))) return true
    this.#options.onDrop?.({ kind: 'retained', topic })
    return false
  }

  async #retain (recorder: Recorder, packet: PacketLike): Promise<void> {
    const { topic, payload } = packet
    const body = bodyOf(packet)
    const redis = await recorder.writer()
    await redis.storeRetained({ topic, payload: payload.length === 0 ? Buffer.alloc(0) : encode(body) })
    recorder.note({ kind: 'retained', topic, bytes: Buffer.byteLength(payload), expires: body.messageExpiry ?? 0 })
  }

  /** Of QoS 0: nobody waits for it. */
  async storeRetained (packet: PacketLike): Promise<void> {
    if (typeof packet.payload !== 'string' && this.#prepared.has(packet.payload)) return
    if (!this.#mayRetain(packet)) return
    this.#commits.write(recorder => this.#retain(recorder, packet)).catch(this.#options.onError)
  }

  /** A retained message for one session that is kept goes by its queue. */
  async resendRetained (session: string, packet: PacketLike): Promise<void> {
    const { subscriptionIdentifier: identifiers = [], ...properties } = packet.properties ?? {}
    const own = { ...packet, properties, retain: true }
    const receiver = { qos: packet.qos as 1 | 2, rap: true, identifiers: identifiers as number[] }
    await this.#commits.write(recorder => this.#enqueue(recorder, own, new Map([[session, receiver]])))
    this.#queues.get(session)?.wake()
  }

  // ---- retained messages

  retains (topic: string, payloadBytes: number): boolean { return payloadBytes === 0 || this.#tables.retained.fits(topic, payloadBytes) }

  /** As those of all servers are by now. */
  async * retained (filter: string, share = 1): AsyncGenerator<FoundRetained> {
    await this.#commits.write(() => {})
    yield * this.#tables.retained.match(filter, this.#dropExpired, share)
  }

  createRetainedStreamCombi (filters: string[]): Readable { return Readable.from(this.#tables.retained.packets(filters, this.#dropExpired)) }

  // ---- subscriptions

  /** Resolves when they are in Redis; from then on whoever publishes, at any server, has them in view. */
  async addSubscriptions ({ id: session }: ClientLike, subscriptions: SubscriptionLike[]): Promise<void> {
    const before = new Map(this.#tables.subscriptions.of(session).map(one => [one.topic, JSON.stringify(one)]))
    const fresh = subscriptions.filter(one => before.get(one.topic) !== JSON.stringify(one))
    if (fresh.length === 0) return
    await this.#commits.write(async recorder => {
      await (await recorder.writer()).addSubscriptions({ id: session }, fresh.map(one => ({ ...one })))
      recorder.note({ kind: 'subscribed', session, subscriptions: fresh })
    })
  }

  async removeSubscriptions ({ id: session }: ClientLike, filters: string[]): Promise<void> {
    if (!this.keeps(session) || filters.length === 0) return
    await this.#commits.write(async recorder => {
      await (await recorder.writer()).removeSubscriptions({ id: session }, filters)
      recorder.note({ kind: 'unsubscribed', session, filters })
    })
  }

  subscriptionsOf (session: string): SubscriptionLike[] { return this.#tables.subscriptions.of(session) }
  expects (topic: string, publisher: string): boolean { return mergeRecipients(this.#tables.subscriptions.match(topic), 0, publisher).size > 0 }
  keeps (session: string): boolean { return this.#tables.sessions.has(session) }
  counts (): { retained: number, retainedBytes: number, dropped: number, queuedBytes: number } {
    const { size, bytes } = this.#tables.retained
    return { retained: size, retainedBytes: bytes, dropped: this.#dropped, queuedBytes: 0 }
  }

  async forget (session: string): Promise<void> {
    if (!this.keeps(session)) return
    await endSession(this.#options.redis, this.#commits, session)
  }

  #trim (queues: ReadonlyMap<string, number>): void {
    trimQueues(this.#options.redis, queues, (client, count) => {
      this.#dropped += count
      this.#options.onDrop?.({ kind: 'queued', client, count })
    }).catch(this.#options.onError)
  }

  // ---- queues of connected sessions

  /** The queue of a session whose connection is here. */
  queueOf (session: string): SessionQueue {
    const queue = new SessionQueue({
      ...this.#options,
      session,
      onClose: () => { if (this.#queues.get(session) === queue) this.#queues.delete(session) }
    })
    this.#queues.get(session)?.close()
    this.#queues.set(session, queue)
    return queue
  }

  /** Something may have been missed: all of them look. */
  wakeAll (): void { for (const queue of this.#queues.values()) queue.wake() }

  hasPacketId (session: string, id: number): boolean { return this.#queues.get(session)?.hasId(id) === true }

  /** PUBREC: the packet id alone is left. */
  async outgoingUpdate (client: ClientLike, packet: PacketLike): Promise<void> {
    if (packet.cmd === 'pubrel') await this.#queues.get(client.id)?.release(packet.messageId as number)
  }

  async outgoingClearMessageId (client: ClientLike, packet: PacketLike): Promise<undefined> { this.#queues.get(client.id)?.end(packet.messageId as number) }

  // ---- QoS 2 towards the server

  async incomingStorePacket (client: ClientLike, packet: PacketLike): Promise<void> {
    const known = client.clean === true || this.keeps(client.id)
    await this.#commit(client.id, packet, this.#incoming.add(client, packet, recorder => {
      // It has nothing else that says that it is there.
      if (known) return
      recorder.add('sadd', sessionsKey, client.id)
      recorder.note({ kind: 'kept', session: client.id })
    })).catch((error: unknown) => {
      this.#incoming.undo(client, packet)
      throw error
    })
  }

  async incomingGetPacket (client: ClientLike, packet: PacketLike): Promise<{ messageId: number }> { return await this.#incoming.get(client, packet.messageId as number) }
  async incomingDelPacket (client: ClientLike, packet: PacketLike): Promise<void> { await this.#incoming.remove(client, packet.messageId as number) }

  async cleanSubscriptions (client: ClientLike): Promise<void> { await this.forget(client.id) }
  async countOffline (): Promise<{ subsCount: number, clientsCount: number }> { return this.#tables.subscriptions.counts() }
  getClientList (topic: string): Readable { return Readable.from(this.#tables.subscriptions.clientsOf(topic)) }

  async destroy (): Promise<void> {
    this.#destroyed = true
    clearTimeout(this.#timer)
    this.#commits.close()
    for (const queue of this.#queues.values()) queue.close()
  }
}
