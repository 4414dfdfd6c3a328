/** One of several servers that work as one: its parts, and how they are put around store and engine. */
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import type { ClusterState } from '../link/core.ts'
import type { LimitWord, LimitWords } from '../link/limits.ts'
import type { Engine, Output } from '../link/port.ts'
import type { Others, Remote } from '../link/remote.ts'
import type { Store } from '../store/store.ts'
import { packageVersion } from '../version.ts'
import { ClusterClock } from './clock.ts'
import { Directory } from './directory.ts'
import { Greetings } from './greetings.ts'
import { Interest } from './interest.ts'
import { Link } from './link.ts'
import { Memory } from './memory.ts'
import type { Ownership } from './ownership.ts'
import { fromWire, Outbox } from './outputs.ts'
import { Presence } from './presence.ts'
import { connectRedis, whenReady, type RedisClient } from './redis.ts'
import { Registry } from './registry.ts'
import { lateInsertMs, Repair } from './repair.ts'
import { ClusterSeats } from './seats.ts'
import { ClusterStore } from './store.ts'
import type { Untold } from './store.ts'
import { Told } from './told.ts'
import { RedisTransport } from './transport.ts'
import type { NodeInfo } from './view.ts'

/** A server whose clock nobody has compared yet may be off by so much, milliseconds. */
const unknownSkewMs = 60_000
/** Words of another server may come this many heartbeats late before its hash in the directory ends. */
const outliveBeats = 60

export interface ClusterSetup {
  config: Pick<Config, 'cluster'>
  /** `Nodes.self` of the store. */
  self: string
  /** What operators call this server when the configuration has no name. */
  name: string
  store: Store
  /** What the store was opened with. */
  ownership: Ownership
  log: Logger
}

export class ClusterNode {
  readonly registry: Registry
  readonly clock = new ClusterClock()
  readonly link: Link
  /** The store as the engine is to have it. */
  readonly store: Store
  readonly #shared: ClusterStore
  readonly #memory: Memory
  readonly #seats: ClusterSeats
  readonly #setup: ClusterSetup
  readonly #directory: Directory
  readonly #presence: Presence
  readonly #outbox: Outbox
  readonly #repair: Repair
  readonly #greetings: Greetings
  readonly #commands: RedisClient
  readonly #transport: RedisTransport
  readonly #startedAt = Date.now()
  readonly #bornAt = performance.now()
  #deliver: (outputs: Output[]) => void = () => {}
  #offsetMs: number | undefined
  #mostSkewMs = 0
  #draining = false

  constructor (setup: ClusterSetup) {
    this.#setup = setup
    const { config: { cluster }, self, log } = setup
    const { namespace, heartbeatMs, leaseMs, requestTimeoutMs } = cluster
    const redis = { url: cluster.redis, timeoutMs: requestTimeoutMs, log }
    const commands = connectRedis(redis, 'commands')
    const subscriber = connectRedis(redis, 'subscriber')
    this.#commands = commands
    const registry = this.registry = new Registry({ redis: commands, namespace, self: () => this.#self(), heartbeatMs, leaseMs, log, clock: this.clock, onOffset: offsetMs => { this.#offsetMs = offsetMs } })
    const transport = this.#transport = new RedisTransport({ commands, subscriber, namespace, log })
    const link = this.link = new Link({ self, transport, registry, requestTimeoutMs, log })
    const { store, ownership } = setup
    ownership.start({ self, registry, over: nodes => store.nodes.over(nodes), log })
    const told = new Told()
    this.#shared = new ClusterStore({ inner: store, link, ownership, requestTimeoutMs, log, told, onServed: outputs => { this.#deliver(outputs) }, onUntold: untold => { this.#untold(untold) } })
    link.on('untold', (untold: Untold[]) => { this.#deliver(behind(untold)) })
    const missed = (sinceMs: number): void => { this.#repair.missed(sinceMs) }
    const restored = (sinceMs: number): void => {
      missed(sinceMs)
      this.#memory.claimsLost()
    }
    const failed = (error: unknown): void => { log.error({ err: error }, 'a heartbeat failed') }
    const directory: Directory = this.#directory = new Directory({
      redis: commands,
      namespace,
      self,
      outliveMs: outliveBeats * heartbeatMs,
      log,
      onEntered: (keys, sinceMs) => interest.entered(keys, sinceMs),
      onLeft: keys => { interest.left(keys) },
      onRestored: restored
    })
    this.#greetings = new Greetings({ self, link, registry, onLate: missed, onKnown: node => { interest.trust(node) }, onGreeted: node => { interest.forget(node) }, onError: failed, leaseMs })
    const interest: Interest = new Interest({ directory, link, registry, greetings: this.#greetings, onError: failed })
    const memory = this.#memory = new Memory({ link, registry, log })
    this.store = memory.noticed(this.#shared)
    this.#seats = new ClusterSeats({ redis: commands, namespace, self, link, registry, releaseTimeoutMs: 4 * requestTimeoutMs, log })
    const presence = this.#presence = new Presence(directory)
    this.#outbox = new Outbox({ link, interest, told, maxBytes: cluster.queueBytes, log })
    this.#repair = new Repair({
      store: setup.store,
      users: () => presence.users,
      output: outputs => { this.#deliver(outputs) },
      forget: () => memory.missed(),
      skewMs: () => this.#skewMs(),
      steady: () => performance.now(),
      now: Date.now,
      log
    })
    link.on('outputs', (wired: Array<Record<string, unknown>>) => { this.#hear(wired.map(fromWire)) })
    link.onBroken((_node, sinceMs) => { missed(sinceMs) })
    registry.onBeat(() => {
      // Also of those that may be gone when it is asked for.
      this.#skewMs()
      this.#deliver([{ kind: 'clock', aheadMs: this.clock.aheadMs }])
      directory.beat().catch(failed)
      this.#tellWhole()
    })
  }

  /** What the engine asks of the other servers. */
  get others (): Others { return this.#seats }

  /** How its limits tell the other servers; undefined: each counts by itself. */
  get limitWords (): LimitWords | undefined {
    if (!this.#setup.config.cluster.sharedLimits) return undefined
    const { registry, link } = this
    return { get servers () { return registry.view.nodes.size }, tell: words => { link.tellAll('limits', words) } }
  }

  /** What the engine says goes to this server's sessions at once, and to the other servers that have readers of it. */
  output (outputs: Output[]): void {
    this.#deliver(outputs)
    this.#outbox.push(outputs)
    this.#enterGroups(outputs)
  }

  /** What the gateway here has said to a user's sessions, for those at the other servers. */
  notice (user: string, payload: Uint8Array): void { this.#outbox.push([{ kind: 'notice', user, payload }]) }

  /** Resolves when Redis was asked for its time, whether it answered or not. To be called before the engine is made, which goes by it. */
  async ready (): Promise<void> {
    await whenReady(this.#commands, this.#setup.config.cluster.requestTimeoutMs)
    try {
      await this.clock.compare(() => this.#commands.time(), ([seconds, micros]) => Number(seconds) * 1000 + Math.floor(Number(micros) / 1000))
    } catch (error) {
      this.#setup.log.debug({ err: error }, 'the time of the cluster is not known yet')
    }
  }

  /** Resolves to the engine as the gateway is to see it. `deliver` takes what comes from elsewhere, too. */
  async start (engine: Engine & { readonly remote: Remote }, deliver: (outputs: Output[]) => void): Promise<Engine> {
    this.#deliver = deliver
    this.#memory.attach(engine.remote)
    this.#seats.serve(engine.remote)
    this.link.on('limits', (words: LimitWord[]) => { engine.remote.limits(words) })
    const { requestTimeoutMs } = this.#setup.config.cluster
    await this.#transport.ready(requestTimeoutMs)
    await this.registry.start()
    await this.#directory.beat()
    await this.#greetings.settled()
    return { ...this.#presence.around(engine), describe: async () => ({ ...await engine.describe(), aheadMs: this.clock.aheadMs }) }
  }

  get state (): ClusterState {
    const { view: { nodes, shares }, isLinked } = this.registry
    const { self } = this.#setup
    const servers = [...nodes.values()].map(server => ({ ...server.id === self ? this.#self() : server, share: shares.get(server.id) ?? 0 }))
    return { self, linked: isLinked, servers }
  }

  /** It takes no clients and owns nothing from now on, and says so. Resolves when that was tried. */
  async drain (): Promise<void> {
    this.#draining = true
    // The one that is under way may have said otherwise.
    await this.registry.beat()
    await this.registry.beat()
  }

  /** To be called before the engine ends, and `end` after it. */
  async close (): Promise<void> {
    await this.#repair.close()
  }

  async end (): Promise<void> {
    this.#seats.close()
    await this.#shared.settled()
    await this.#outbox.settled()
    await this.registry.close()
    await this.#directory.close()
    this.link.close()
    this.#transport.close()
    this.#commands.disconnect()
  }

  #hear (outputs: Output[]): void {
    this.#memory.hear(outputs)
    this.#deliver(outputs)
    this.#enterGroups(outputs)
  }

  /** Messages are stored, and nobody can be told of them but that they are there. */
  #untold (untold: Untold[]): void {
    this.#deliver(behind(untold))
    this.link.tellAll('untold', untold)
  }

  /** Users here have come to be members of groups that this server was not told of so far. */
  #enterGroups (outputs: readonly Output[]): void {
    if (!outputs.some(({ kind }) => kind === 'members')) return
    const enter = async (): Promise<void> => {
      const logs = await this.#presence.joined(outputs)
      if (logs.length === 0) return
      const heads = await this.#setup.store.heads(logs)
      this.#deliver(logs.map((log, i) => ({ kind: 'behind', log, after: 0, upTo: heads[i]?.seq ?? 0, senders: [] })))
    }
    enter().catch((error: unknown) => {
      this.#setup.log.warn({ err: error }, 'the ends of new groups could not be looked up')
      this.#repair.missed(performance.now())
    })
  }

  /** Streams that begin with a message may begin there when the one before it is known to have been heard of. */
  #tellWhole (): void {
    const wholeAt = this.link.wholeAt
    if (!this.registry.isLinked || this.#repair.isOpen || !this.#greetings.isSettled || wholeAt === undefined) return
    this.#deliver([{ kind: 'whole', upTo: this.clock.now() - (performance.now() - wholeAt) - this.#skewMs() - lateInsertMs }])
  }

  #skewMs (): number {
    let most = Math.abs(this.#offsetMs ?? unknownSkewMs)
    for (const { offsetMs } of this.registry.view.nodes.values()) most = Math.max(most, Math.abs(offsetMs ?? unknownSkewMs))
    // Of those that are gone, too.
    this.#mostSkewMs = Math.max(this.#mostSkewMs, most)
    return 2 * this.#mostSkewMs
  }

  /** While another server was not heard yet, since the start. */
  #lagMs (): number {
    const now = performance.now()
    return Math.round(Math.max(now - (this.link.wholeAt ?? this.#bornAt), this.#repair.openMs, this.#outbox.waitingMs))
  }

  #self (): NodeInfo {
    const { config: { cluster }, self, name } = this.#setup
    return {
      id: self,
      name: cluster.name === '' ? name : cluster.name,
      version: packageVersion(),
      addresses: cluster.addresses,
      region: cluster.region,
      room: cluster.room,
      draining: this.#draining,
      connections: this.#presence.size,
      startedAt: this.#startedAt,
      view: this.registry.view.name,
      lagMs: this.#lagMs(),
      ...this.#offsetMs !== undefined && { offsetMs: this.#offsetMs }
    }
  }
}

function behind (untold: readonly Untold[]): Output[] { return untold.map(one => ({ kind: 'behind', ...one })) }
