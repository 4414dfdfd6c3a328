import type { Logger } from 'pino'
import type { Engine, Output, Resends } from '../link/port.ts'
import type { Code } from '../errors.ts'
import { PerSecond } from '../per-second.ts'
import type { Topics } from '../topics.ts'
import { Turns } from '../turns.ts'
import { AnswerRoom } from './connection/answers.ts'
import type { OrdinaryBroker } from '../ordinary/adapter.ts'
import { Pump } from './delivery/pump.ts'
import type { Session } from './delivery/session.ts'
import { Clock } from './clock.ts'
import { connect } from './connection/connecting.ts'
import { Connection } from './connection/connection.ts'
import { disconnectReasons } from './connection/disconnect-reasons.ts'
import { Contested, logFailure } from './connection/failure.ts'
import type { ConnectFrame, FrameLimits } from '../mqtt/index.ts'
import { PendingPublishes } from './connection/inbound.ts'
import type { AccessLimits } from './limits.ts'
import type { OpenTopics } from './open-topics.ts'
import { Sockets } from './listener/sockets.ts'
import { Subscriptions } from './connection/subscriptions.ts'
import { Tick } from './tick.ts'
import type { Transport } from './listener/transport.ts'
import { publishWill } from './connection/will.ts'
import { Wills } from './connection/wills.ts'

export interface AccessOptions {
  topics: Topics
  openTopics: OpenTopics
  limits: AccessLimits
  log: Logger
  /** Clients without a user name may use ordinary topics. */
  anonymous: boolean
}

/** A connected session with its connection; `ended` resolves when the engine knows that it is over. */
interface Connected { session: Session, connection: Connection, /** it goes on with an earlier one */ present: boolean, ended: Promise<void>, end: () => void }

const sweepIntervalMs = 1000
const maxLockWaiters = 8
/** For which a connection that fights for a session waits for its refusal, milliseconds. */
const contestedPauseMs = 1000

/** The sockets' side of the server: connections, sessions, delivery. It decides nothing about messages. */
export class Access {
  readonly options: AccessOptions
  readonly topics: Topics
  readonly openTopics: OpenTopics
  readonly limits: AccessLimits
  readonly frameLimits: FrameLimits
  readonly log: Logger
  readonly clock = new Clock()
  readonly tick = new Tick()
  /** Connections that are beyond their allowance, in turn by user. */
  readonly turns = new Turns({ contended: () => this.#pump?.sending === true })
  readonly answers: AnswerRoom
  readonly pending = new PendingPublishes()
  readonly subscriptions: Subscriptions = new Subscriptions(this)
  readonly sessions = new Map<string, Connected>()
  readonly connections = new Set<Connection>()
  readonly sockets: Sockets
  /** Of sessions, by their ids. */
  readonly takeovers: PerSecond
  /** Wills that wait. */
  readonly wills: Wills
  /** Sessions that wait for their sender's rate and have left a will meanwhile. */
  readonly heldWills = new Set<string>()
  ordinary: OrdinaryBroker | undefined
  #engine: Engine | undefined
  #pump: Pump | undefined
  readonly #users = new Map<string, number>()
  readonly #locks = new Map<string, { tail: Promise<void>, waiters: number }>()
  readonly #timer: NodeJS.Timeout
  #closing = false
  readonly #pauses = new Set<() => void>()

  constructor (options: AccessOptions) {
    this.options = options
    this.topics = options.topics
    this.openTopics = options.openTopics
    this.limits = options.limits
    this.log = options.log
    this.answers = new AnswerRoom(options.limits.answerBytes, options.limits.answerBytesPerUser)
    this.wills = new Wills(options.limits)
    this.frameLimits = {
      maxClientIdBytes: options.limits.clientIdBytes,
      maxTopicBytes: options.limits.topicBytes,
      maxTopicLevels: options.limits.topicLevels,
      maxFilters: options.limits.subscriptionsPerSession
    }
    this.sockets = new Sockets(options.limits, address => {
      this.log.warn({ address, connections: this.connections.size, sockets: this.sockets.count }, 'too many connections')
    })
    this.takeovers = new PerSecond(options.limits.takeoversPerSecond)
    this.#timer = setInterval(() => { this.#sweep() }, sweepIntervalMs)
    this.#timer.unref()
  }

  get engine (): Engine { return this.#engine as Engine }
  get pump (): Pump { return this.#pump as Pump }

  /** The two sides need each other: the engine is given when both exist, before the first connection. */
  use (engine: Engine, ordinary: OrdinaryBroker | undefined): void {
    this.#engine = engine
    this.#pump = new Pump(engine, this.topics)
    this.tick.use(engine)
    this.ordinary = ordinary
  }

  /** Takes a new byte stream, whose socket `sockets` has counted. */
  accept (transport: Transport): void {
    if (this.#closing) return transport.destroy()
    this.clock.refresh()
    this.connections.add(new Connection(this, transport))
  }

  async connect (connection: Connection, frame: ConnectFrame): Promise<void> { await connect(this, connection, frame) }

  /** What the engine says, in its order. */
  output (outputs: Output[]): void {
    this.clock.refresh()
    const { pump } = this
    for (const output of outputs) {
      switch (output.kind) {
        case 'verdict': this.pending.settle(output); break
        case 'message': pump.message(output); break
        case 'event': pump.event(output); break
        case 'members': pump.members(output); break
        case 'notice': pump.notice(output.user, output.payload); break
        case 'kick': this.kick(output.user, output.session, output.code); break
        case 'hold': this.#hold(output.session, output.held); break
        case 'expired': this.#expired(output.session); break
      }
    }
  }

  #hold (session: string, held: boolean): void {
    if (!held) this.heldWills.delete(session)
    this.sessions.get(session)?.connection.pace(held)
  }

  /** Closes a user's connections; those that wait for their password are refused with `code` if it was right. */
  kick (user: string, session?: string, code: Code = 'unauthorized'): void {
    // Who is banned or removed says nothing more, not even by a will.
    const silent = code === 'banned' || code === 'not_found'
    if (silent) this.wills.discard(user)
    // Not by session: those that are not done with connecting have none that the pump knows.
    for (const connection of [...this.connections]) {
      if (connection.claims === user && session === undefined) connection.kicked = code
      if (connection.user !== user || (session !== undefined && connection.session?.id !== session)) continue
      if (silent) connection.dropWill()
      connection.close({ reason: disconnectReasons.administrative })
    }
  }

  /** The connection's user is known; `countOf` counts it from now on. */
  enter (connection: Connection, user: string): void {
    connection.user = user
    connection.transport.settle(true)
    connection.claims = undefined
    this.#users.set(user, this.countOf(user) + 1)
  }

  /** The connections of a user, those that are not done with connecting included. */
  countOf (user: string): number { return this.#users.get(user) ?? 0 }

  #expired (session: string): void {
    this.wills.ended(session)
    this.ordinary?.forget(session).catch((err: Error) => { logFailure(this.log, err, { session }, 'an expired session was not forgotten') })
  }

  /** The description of the server, as a retained message. */
  tellServer (session: Session): void {
    this.pump.tell(session, this.topics.server(), Buffer.from(JSON.stringify(this.engine.serverInfo())), true)
  }

  /** Resolves after a second, or when the server stops. */
  async pause (): Promise<void> {
    if (this.#closing) return
    await new Promise<void>(resolve => {
      const end = (): void => {
        clearTimeout(timer)
        this.#pauses.delete(end)
        resolve()
      }
      const timer = setTimeout(end, contestedPauseMs).unref()
      this.#pauses.add(end)
    })
  }

  /** One CONNECT of a session at a time; resolves to the function that lets the next one in. */
  async lock (id: string): Promise<() => void> {
    const held = this.#locks.get(id)
    if (held !== undefined && held.waiters >= maxLockWaiters) throw new Contested('too many connections at once for one session')
    let unlock = (): void => {}
    const mine = new Promise<void>(resolve => { unlock = resolve })
    const lock = held ?? { tail: Promise.resolve(), waiters: 0 }
    const before = lock.tail
    lock.tail = mine
    lock.waiters++
    this.#locks.set(id, lock)
    await before
    return () => {
      if (--lock.waiters === 0) this.#locks.delete(id)
      unlock()
    }
  }

  /** `present`: it goes on with what was stored; otherwise an earlier one of its name is over. */
  addSession (session: Session, connection: Connection, present: boolean): void {
    if (present) this.wills.goesOn(session.id)
    else this.wills.ended(session.id)
    let end = (): void => {}
    const ended = new Promise<void>(resolve => { end = resolve })
    this.sessions.set(session.id, { session, connection, present, ended, end })
  }

  /** Lets the will of a session wait that Aedes has let go, which may be a while after the session's connection ended. */
  delayWill (session: Session, will: { bytes: number, delaySeconds: number, publish: () => void, discard: () => void }): void {
    const { bytes, publish, discard } = will
    const current = this.sessions.get(session.id)
    if (current !== undefined && current.session !== session) return current.present ? discard() : publish()
    const delaySeconds = Math.min(will.delaySeconds, session.expirySeconds)
    if (delaySeconds === 0) return publish()
    this.wills.add(session.id, { user: session.user, dueMs: this.clock.now + delaySeconds * 1000, bytes, publish, discard })
  }

  /** The connection is over: its session is put away, its will published unless it said goodbye. Safe to call twice. */
  connectionClosed (connection: Connection, graceful: boolean): void {
    if (this.connections.delete(connection)) {
      // What is left of its socket is no more than a stranger's.
      connection.transport.settle(false)
      const ofUser = this.countOf(connection.user) - 1
      if (ofUser > 0) this.#users.set(connection.user, ofUser)
      else this.#users.delete(connection.user)
    }
    const { session } = connection
    if (session === undefined || session.closed) return
    this.pump.remove(session)
    const inflight = session.close()
    // What was read this turn is the engine's before it hears that nobody waits for answers.
    const unsubmitted = this.tick.discard(session.id)
    if (unsubmitted.length > 0) this.engine.submit(unsubmitted)
    this.engine.hangUp(session.id, graceful)
    publishWill(this, connection)
    const connected = this.sessions.get(session.id)
    // Publishes that the engine has not answered are not graceful, whatever the client said.
    const clean = graceful && !connection.inbound.busy
    const proven = clean && !connection.inbound.unfinished ? session.evidence?.number : session.evidence?.proven
    this.engine.closeSession({ session: session.id, expirySeconds: session.expirySeconds, graceful: clean, inflight, proven: proven ?? 0 })
      .catch((err: Error) => { logFailure(this.log, err, { session: session.id }, 'the end of a session was not stored') })
      .then(() => {
        if (connected?.session === session) {
          this.sessions.delete(session.id)
          if (!session.persistent) this.#expired(session.id)
          connected.end()
        }
      }, (err: Error) => { this.log.error({ err }, 'a session was not put away') })
  }

  #sweep (): void {
    const now = this.clock.refresh()
    for (const connection of this.connections) connection.sweep(now)
    this.wills.sweep(now)
    const proofs = []
    for (const { session, connection } of this.sessions.values()) {
      const { evidence, id } = session
      if (evidence === undefined || evidence.proven === evidence.told || session.closed) continue
      evidence.told = evidence.proven
      proofs.push({ session: id, epoch: (connection.inbound.resends as Resends).epoch, proven: evidence.proven })
    }
    if (proofs.length > 0) this.engine.prove(proofs)
  }

  /** Closes all connections (MQTT 5 clients are told) and waits until their sessions are stored. */
  async close (): Promise<void> {
    this.#closing = true
    clearInterval(this.#timer)
    for (const end of this.#pauses) end()
    const ends = [...this.sessions.values()].map(async one => { await one.ended })
    for (const connection of [...this.connections]) connection.close({ reason: disconnectReasons.shuttingDown })
    this.wills.close()
    this.tick.run()
    await Promise.all(ends)
    this.pump.close()
    await this.ordinary?.close()
  }
}
