/** One connection of a session over all servers: who has it is said in Redis, and asked to end its own when another one takes it. */
import type { Logger } from 'pino'
import type { Holder, Others, Released, Remote, Seat } from '../link/remote.ts'
import { Claims } from './claims.ts'
import { PeerUnavailableError, type Link } from './link.ts'
import type { RedisClient } from './redis.ts'
import type { Registry } from './registry.ts'

export interface SeatsOptions {
  redis: RedisClient
  namespace: string
  /** This server. */
  self: string
  link: Pick<Link, 'ask' | 'on'>
  registry: Pick<Registry, 'view' | 'isLinked' | 'onBeat'>
  /** Milliseconds that another server is given to end a connection. */
  releaseTimeoutMs: number
  log: Logger
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

interface Unanswered { session: string, holder: Holder }

/** Sessions of which another server has not said that it ended its connection. */
const maxUnanswered = 10_000
/** Of those asked again with one heartbeat. */
const askedAtOnce = 200
/** Claims end by themselves: they are renewed so often, milliseconds. */
const renewMs = 6 * 3_600_000

export class ClusterSeats implements Others {
  readonly #options: SeatsOptions
  readonly #claims: Claims
  readonly #steady: () => number
  /** Servers that let somebody wait in vain: nobody waits for them until then. */
  readonly #silent = new Map<string, number>()
  /** Who was not answered is asked again, as long as it is there. */
  readonly #unanswered = new Map<string, Unanswered>()
  #remote: Pick<Remote, 'recheck'> | undefined
  /** A claim could not be made, or looked at: all are looked at again when Redis answers. */
  #untoldOf = false
  #timer: NodeJS.Timeout | undefined
  #asking = false

  constructor (options: SeatsOptions) {
    const { redis, namespace, self, registry } = options
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    this.#claims = new Claims({ redis, namespace, self, live: () => registry.view.nodes.keys() })
    registry.onBeat(() => { this.#beat() })
  }

  /** What other servers ask of this one's engine is answered from now on. */
  serve (remote: Pick<Remote, 'release' | 'recheck'>): void {
    const { link } = this.#options
    this.#remote = remote
    link.on('release', async ({ session, epoch }: { session: string, epoch?: string }): Promise<Released> => await remote.release(session, epoch))
    this.#timer = setInterval(() => { this.#recheck() }, renewMs)
    this.#timer.unref()
  }

  close (): void { clearInterval(this.#timer) }

  async claim (seat: Seat): Promise<Holder | undefined> {
    if (!this.#options.registry.isLinked) return undefined
    try {
      const holder = await this.#claims.take(seat)
      return holder !== undefined && this.#isThere(holder) ? holder : undefined
    } catch (error) {
      this.#untoldOf = true
      this.#untold(error, seat)
      return undefined
    }
  }

  async keep (seat: Seat): Promise<{ mine: boolean, holder?: Holder }> {
    try {
      return await this.#claims.keep(seat)
    } catch (error) {
      this.#untoldOf = true
      this.#untold(error, seat)
      return { mine: true }
    }
  }

  leave (seat: Seat): void {
    // What stays names a connection that is no more: who asks this server for it hears so.
    this.#claims.leave(seat).catch((error: unknown) => { this.#untold(error, seat) })
  }

  async release (session: string, holder: Holder): Promise<Released | undefined> {
    const { node, ended } = holder
    // It had stored the end.
    if (ended === true && !this.#isThere(holder)) return undefined
    const answered = this.#ask(session, holder)
    // The question is on its way in any case.
    if ((this.#silent.get(node) ?? -Infinity) > this.#steady()) {
      answered.catch(() => undefined)
      return undefined
    }
    return await answered
  }

  /** Never rejects. */
  async #ask (session: string, holder: Holder): Promise<Released | undefined> {
    const { link, releaseTimeoutMs, log } = this.#options
    const { node, epoch, ended } = holder
    try {
      const released = await link.ask(node, 'release', { session, ...epoch !== undefined && { epoch } }, { timeoutMs: releaseTimeoutMs }) as Released
      this.#silent.delete(node)
      this.#unanswered.delete(session)
      return released
    } catch (error) {
      log.warn({ session, node, reason: (error as Error).message }, 'another server was asked for a session and did not say that it has ended its connection: the session is taken up as it is stored')
      // It has answered, and its store has failed: the connection has ended.
      if (!(error instanceof PeerUnavailableError)) return undefined
      if (this.#isThere(holder)) this.#silent.set(node, this.#steady() + releaseTimeoutMs)
      if (epoch !== undefined && ended !== true && this.#unanswered.size < maxUnanswered) this.#unanswered.set(session, { session, holder })
      return undefined
    }
  }

  #recheck (): void { this.#remote?.recheck().catch((error: unknown) => { this.#options.log.error({ err: error }, 'who has which session was not looked at again') }) }

  #beat (): void {
    if (this.#untoldOf && this.#options.registry.isLinked) {
      this.#untoldOf = false
      this.#recheck()
    }
    if (this.#unanswered.size === 0 || this.#asking || !this.#options.registry.isLinked) return
    const some = [...this.#unanswered.values()].slice(0, askedAtOnce)
    for (const { session } of some) this.#unanswered.delete(session)
    this.#asking = true
    Promise.all(some.filter(({ holder }) => this.#isThere(holder)).map(({ session, holder }) => this.#ask(session, holder)))
      .catch((error: unknown) => { this.#options.log.error({ err: error }, 'other servers are not asked again for sessions') })
      .finally(() => { this.#asking = false })
  }

  #isThere ({ node }: Holder): boolean { return node !== this.#options.self && this.#options.registry.view.nodes.has(node) }

  #untold (error: unknown, { session }: Seat): void { this.#options.log.debug({ err: error, session }, 'Redis was not told who has a session') }
}
