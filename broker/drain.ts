/** The clients of this server go to the others: all of them before it ends, or some when it has more than its share. */
import type { Logger } from 'pino'
import type { Config } from './config/schema.ts'
import { Refusal } from './errors.ts'
import type { Gateway } from './gateway/gateway.ts'
import { inOrder } from './http/entry.ts'
import type { ClusterServer, ClusterState, Core } from './link/core.ts'

/** Milliseconds between two looks at who there is. */
const lookMs = 1_000
/** A server has more than its share of sessions when it has this part more than the others on average, and so many. */
const excessPart = 0.1
const excessLeast = 10
/** Milliseconds until a session that was moved is counted where it has gone to, at most. */
const underWayMs = 10_000
/** Sessions that were moved are remembered, so many. */
const rememberedMoves = 100_000

export interface DrainSetup {
  config: Pick<Config, 'cluster' | 'mqtt'>
  core: Pick<Core, 'cluster'>
  gateway: Pick<Gateway, 'departures' | 'sessions'>
  /** Takes no more connections. */
  stopListening: () => void
  log: Logger
}

export class Drain {
  readonly #setup: DrainSetup
  #run: Promise<number> | undefined
  #others: ClusterServer[] = []
  #turn = 0
  #timer: NodeJS.Timeout | undefined
  /** Sessions that have been moved, the last at the end. */
  readonly #moved = new Set<string>()
  /** Sessions that others may not count yet. */
  #underWay: Array<{ until: number, count: number }> = []
  #progress: ((moved: number, total: number) => void) | undefined

  constructor (setup: DrainSetup) {
    this.#setup = setup
    const { cluster } = setup.config
    if (cluster.redis === '' || cluster.rebalancePerSecond === 0) return
    this.#timer = setInterval(() => {
      this.#look().then(state => { this.#rebalance(state) }, (error: unknown) => { setup.log.warn({ err: error }, 'who there is could not be looked up') })
    }, lookMs)
    this.#timer.unref()
  }

  /** It has begun, and the server is about to end. */
  get begun (): boolean { return this.#run !== undefined }

  /**
   * Moves all clients; resolves to how many there were when they have gone, or the time is up. Once it has begun it is the same for all who ask.
   * Rejects with `Refusal` (`conflict`) when nobody could take them, and nothing is changed then.
   */
  async run (progress?: (moved: number, total: number) => void): Promise<number> {
    this.#progress = progress ?? this.#progress
    if (this.#run === undefined) {
      const state = await this.#look()
      if (this.#others.length === 0 && this.#setup.config.mqtt.elsewhere.address === '') {
        throw new Refusal('conflict', state === undefined ? 'this server is alone: nobody could take its clients' : 'no other server takes clients')
      }
    }
    return await (this.#run ??= this.#drain())
  }

  /** For a stop: nothing is done where nobody could take the clients. */
  async beforeStop (): Promise<void> {
    try {
      await this.run()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
    }
  }

  close (): void {
    clearInterval(this.#timer)
    this.#setup.gateway.departures.close()
  }

  async #drain (): Promise<number> {
    const { config: { cluster, mqtt }, core, gateway, stopListening, log } = this.#setup
    clearInterval(this.#timer)
    const total = gateway.sessions.connected.size
    log.info({ sessions: total, servers: this.#others.length }, 'drains: its clients are sent to other servers')
    stopListening()
    const told = core.cluster.drain()
    this.#timer = setInterval(() => { this.#look().catch((error: unknown) => { log.warn({ err: error }, 'who there is could not be looked up') }) }, lookMs)
    await gateway.departures.drain({
      perSecond: cluster.drainPerSecond,
      withinMs: cluster.drainSeconds * 1000,
      reference: () => this.#reference(),
      goesOn: () => this.#others.length > 0 || mqtt.elsewhere.address !== '',
      progress: (moved, total) => { this.#progress?.(moved, total) }
    })
    clearInterval(this.#timer)
    await told
    log.info({ sessions: total, left: gateway.sessions.connected.size }, 'drained')
    return total
  }

  async #look (): Promise<ClusterState | undefined> {
    const state = await this.#setup.core.cluster.state()
    const { region } = this.#setup.config.cluster
    const others = (state?.servers ?? []).filter(({ id, draining }) => id !== state?.self && !draining)
    // Those of the own region come first.
    this.#others = others.sort((a, b) => (a.region === region ? 0 : 1) - (b.region === region ? 0 : 1))
    return state
  }

  /** The other servers, with another one of the own region in front for each client. */
  #reference (): string | undefined {
    const { region } = this.#setup.config.cluster
    const near = this.#others.filter(server => server.region === region)
    const far = this.#others.filter(server => server.region !== region)
    const turn = this.#turn++
    return references([...rotated(near, turn), ...rotated(far, turn)])
  }

  #rebalance (state: ClusterState | undefined): void {
    const { config: { cluster }, gateway, log } = this.#setup
    if (this.begun || state?.linked !== true || this.#others.length === 0) return
    const own = gateway.departures.staying
    const now = performance.now()
    this.#underWay = this.#underWay.filter(({ until }) => now < until)
    // Who has arrived meanwhile counts twice for a while: too few go rather than too many.
    const away = this.#underWay.reduce((sum, { count }) => sum + count, 0)
    const mean = (own + away + this.#others.reduce((sum, { connections }) => sum + connections, 0)) / (this.#others.length + 1)
    const excess = own - Math.ceil(Math.max(mean * (1 + excessPart), mean + excessLeast))
    const below = this.#others.filter(({ connections }) => connections < mean)
    if (excess <= 0 || below.length === 0) return
    let moved = 0
    let left = Math.min(excess, cluster.rebalancePerSecond)
    for (const session of gateway.sessions.connected.keys()) {
      if (left === 0) break
      if (this.#moved.has(session)) continue
      const reference = references(inOrder(below, cluster.region))
      if (reference === undefined || !gateway.departures.move(session, reference)) continue
      this.#remember(session)
      left--
      moved++
    }
    this.#underWay.push({ until: now + underWayMs, count: moved })
    log.debug({ own, mean: Math.round(mean), excess }, 'sessions are moved to servers with fewer')
  }

  #remember (session: string): void {
    this.#moved.add(session)
    const [oldest] = this.#moved
    if (this.#moved.size > rememberedMoves && oldest !== undefined) this.#moved.delete(oldest)
  }
}

function rotated<T> (some: readonly T[], turn: number): T[] {
  const at = some.length === 0 ? 0 : turn % some.length
  return [...some.slice(at), ...some.slice(0, at)]
}

/** Addresses as a Server Reference (MQTT 5.0, section 4.11): host and port, a space between two; what is no plain MQTT keeps its scheme. */
function references (servers: ReadonlyArray<{ addresses: readonly string[] }>): string | undefined {
  const places = servers.flatMap(({ addresses }) => addresses.map(address => address.replace(/^(mqtts?|tcp|ssl):\/\//, '')))
  return places.length === 0 ? undefined : [...new Set(places)].join(' ')
}
