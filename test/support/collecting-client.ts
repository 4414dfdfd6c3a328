/**
 * A device without MQTT: its sink collects what its session is delivered, as objects, and acknowledges by stream and number. It is used
 * like a `MemoryClient`, so that the same tests run over both.
 */
import type { Gateway } from '../../broker/gateway/gateway.ts'
import type { Place } from '../../broker/gateway/delivery/resend.ts'
import { Session } from '../../broker/gateway/delivery/session.ts'
import type { Sink } from '../../broker/gateway/delivery/sink.ts'
import type { Entry, Stream, StreamKind } from '../../broker/gateway/delivery/stream.ts'
import { Topics } from '../../broker/topics.ts'
import type { FakeEngine } from './fake-engine.ts'
import { name, type Got } from './memory-client.ts'

interface Collected extends Got, Place { messageId: number }

const softBytes = 65536
const overheadBytes = 30
const topics = new Topics()

/** What it takes in a turn is the device's at the end of the turn, unless the device is slow. */
class CollectingSink implements Sink {
  /** What the device has. */
  readonly got: Collected[] = []
  /** Not acknowledged, oldest first. */
  open: Collected[] = []
  readonly errors: Error[] = []
  slow = false
  readonly unheard = false
  compact = false
  closed = false
  readonly #user: string
  readonly #drained: () => void
  #unsent: Collected[] = []
  #bytes = 0
  #scheduled = false
  #number = 0

  constructor (user: string, drained: () => void) {
    this.#user = user
    this.#drained = drained
  }

  get crowded (): boolean { return this.#bytes >= softBytes }

  label (kind: StreamKind, id: string): Buffer {
    if (kind === 'group') return Buffer.from(topics.group(id.slice(2)))
    return Buffer.from(kind === 'event' ? topics.event(this.#user) : topics.inbox(this.#user))
  }

  deliver ({ id, label, qos }: Stream, { seq, payload }: Entry, dup: boolean): boolean {
    const one = { stream: id, seq, topic: label.toString(), payload: Buffer.from(payload), dup, qos, messageId: ++this.#number }
    this.#unsent.push(one)
    this.#bytes += payload.length + overheadBytes
    if (qos === 1) this.open.push(one)
    if (!this.#scheduled && !this.slow) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        if (!this.slow) this.flush()
      })
    }
    return true
  }

  flush (): void {
    if (this.closed) return
    this.#give()
    this.#drained()
  }

  /** The device says goodbye: what was written before reaches it. */
  end (): void { if (!this.slow) this.#give() }

  #give (): void {
    this.got.push(...this.#unsent.splice(0))
    this.#bytes = 0
  }

  notice (): void { /* what may be lost is */ }
  fail (err: Error): void { this.errors.push(err) }
}

/** Connected devices, by session. */
const devices = new WeakMap<FakeEngine, Map<string, CollectingClient>>()

export class CollectingClient {
  closed = false
  readonly transport: { slow: boolean, drain (): void }
  readonly #gateway: Gateway
  readonly #engine: FakeEngine
  #user = ''
  #id = ''
  #sink: CollectingSink | undefined
  #session: Session | undefined
  #resumed: readonly Place[] = []
  #persistent = false
  #opened: Promise<void> = Promise.resolve()
  #ended: Promise<void> = Promise.resolve()
  /** What the device does happens one after the other, as on a connection. */
  readonly #work: Array<() => Promise<void> | void> = []
  #busy = false
  #slow = false

  constructor (gateway: Gateway, engine: FakeEngine) {
    this.#gateway = gateway
    this.#engine = engine
    const device = this
    this.transport = {
      get slow () { return device.#slow },
      set slow (slow) { device.#setSlow(slow) },
      drain: () => { this.#sink?.flush() }
    }
  }

  #setSlow (slow: boolean): void {
    this.#slow = slow
    if (this.#sink !== undefined) this.#sink.slow = slow
  }

  #do (work: () => Promise<void> | void): void {
    this.#work.push(work)
    this.#run()
  }

  #run (): void {
    while (!this.#busy && !this.closed) {
      const done = this.#work.shift()?.()
      if (done === undefined && this.#work.length === 0) return
      if (done === undefined) continue
      this.#busy = true
      done.finally(() => {
        this.#busy = false
        this.#run()
      }).catch((err: Error) => { this.#sink?.errors.push(err) })
    }
  }

  hello (user: string, { clean = true, clientId = 'phone' }: { clean?: boolean, clientId?: string } = {}): void {
    this.#user = user
    this.#id = `${user}/${clientId}`
    this.#persistent = !clean
    this.#do(() => {
      this.#opened = this.#open(clientId, clean)
      return this.#opened
    })
  }

  async connect (user: string, options: { clean?: boolean, clientId?: string } = {}): Promise<void> {
    this.hello(user, options)
    await this.#idle()
  }

  async #open (clientId: string, cleanStart: boolean): Promise<void> {
    const connected = devices.get(this.#engine) ?? new Map<string, CollectingClient>()
    devices.set(this.#engine, connected)
    // One of a session at a time, and the earlier one ends first.
    const old = connected.get(this.#id)
    connected.set(this.#id, this)
    if (old !== undefined) await old.#opened
    old?.lose()
    if (old !== undefined) await old.#ended
    if (this.closed) return
    const expirySeconds = this.#persistent ? 3600 : 0
    const opened = await this.#engine.openSession({ session: this.#id, user: this.#user, clientId, cleanStart, expirySeconds })
    if (!opened.ok) throw new Error(opened.reason)
    const { inflight, subscriptions } = opened.value
    const { pump, limits } = this.#gateway
    const sink = this.#sink = new CollectingSink(this.#user, () => { this.#session?.catchUp() })
    sink.slow = this.#slow
    const session = this.#session = new Session(pump, sink, { id: this.#id, user: this.#user, expirySeconds, window: limits.inflight })
    this.#resumed = inflight
    if (this.closed) return this.#end()
    for (const { filter, qos } of subscriptions) this.#follow(filter, qos)
    session.sumInterest()
    await session.resend(inflight)
    if (session.closed) return
    this.#resumed = []
    pump.add(session)
    session.applyInterest()
  }

  #follow (filter: string, qos: 0 | 1): void {
    const means = topics.filter(filter, this.#user)
    if (means === undefined) throw new Error(`${filter} is not a filter of ${this.#user}'s`)
    this.#session?.interest.set(filter, means, qos)
  }

  async subscribe (filters: string | string[], qos: 0 | 1 | 2 = 1): Promise<void> {
    this.ask('subscribe', [filters].flat(), qos)
    await this.#idle()
  }

  async unsubscribe (filter: string): Promise<void> {
    this.ask('unsubscribe', [filter])
    await this.#idle()
  }

  /** Subscribes or unsubscribes in its turn. */
  ask (what: 'subscribe' | 'unsubscribe', filters: string[], qos: 0 | 1 | 2 = 1): void {
    this.#do(async () => {
      const session = this.#session
      if (session === undefined || session.closed) return
      let changed = what === 'subscribe'
      for (const filter of filters) {
        if (what === 'subscribe') this.#follow(filter, qos > 0 ? 1 : 0)
        else changed = session.interest.delete(filter) || changed
      }
      if (what === 'unsubscribe' && changed) session.applyInterest()
      if (changed && session.persistent) await this.#engine.saveSubscriptions(session.id, session.interest.list())
      if (what === 'subscribe' && !session.closed) session.applyInterest()
    })
  }

  /** Resolves when all that the device asked for is done. */
  async #idle (): Promise<void> {
    while ((this.#busy || this.#work.length > 0) && !this.closed) await new Promise<void>(resolve => { setImmediate(resolve) })
  }

  ack (one: { messageId?: number | undefined }): void {
    this.#do(() => {
      const open = this.#sink?.open ?? []
      const at = open.findIndex(({ messageId }) => messageId === one.messageId)
      const [acked] = at < 0 ? [] : open.splice(at, 1)
      if (acked !== undefined) this.#session?.acknowledge(acked.stream, acked.seq)
    })
  }

  /** What happens about once a second. */
  sweep (): void { this.#session?.trim(this.#gateway.pump.steady()) }

  /** `{conv}{seq}` of what has arrived and was not taken. */
  seqs (): string[] { return this.take().map(name) }

  take (): Got[] { return this.#sink?.got.splice(0) ?? [] }

  /** Says goodbye. */
  leave (): void {
    this.#do(() => {
      this.#sink?.end()
      this.lose()
    })
  }

  /** Disappears without a word. */
  lose (): void {
    if (this.closed) return
    this.closed = true
    this.#end()
  }

  #end (): void {
    const session = this.#session
    const sink = this.#sink
    if (session === undefined || sink === undefined || session.closed) return
    sink.closed = true
    this.#gateway.pump.remove(session)
    session.close()
    const open: readonly Place[] = sink.open.length > 0 ? sink.open : this.#resumed
    // The store keeps packet ids; a device that has none may say any.
    const inflight = open.map(({ stream, seq }, at) => ({ packetId: at + 1, stream, seq }))
    const connected = devices.get(this.#engine)
    this.#ended = this.#engine.closeSession({ session: session.id, expirySeconds: session.expirySeconds, graceful: false, inflight })
      .finally(() => { if (connected?.get(session.id) === this) connected.delete(session.id) })
  }
}
