import type { Logger } from 'pino'
import type { Code } from '../errors.ts'
import type { Engine, Output } from '../link/port.ts'
import { disconnectReasons } from './connection/disconnect-reasons.ts'
import type { Elsewhere } from './connection/elsewhere.ts'
import type { Evidence } from './connection/evidence.ts'
import { logFailure } from './connection/failure.ts'
import type { MqttSink } from './connection/mqtt-sink.ts'
import type { Publishes } from './connection/publishes.ts'
import type { Pump } from './delivery/pump.ts'
import type { Session } from './delivery/session.ts'
import type { Tick } from './tick.ts'
import { unwaited, type WaitingWills } from './wills/waiting.ts'
import type { TestatorClient, Wills } from './wills/wills.ts'

/** A connection, as those who list it need it. */
export interface ListedConnection extends TestatorClient {
  user: string
  /** The user name while its password is looked at. */
  claims: string | undefined
  /** The account was banned, removed or changed meanwhile: whoever has the right password is refused with this. */
  kicked: Code | undefined
  /** The login whose token let it in, and until when. */
  grant: string | undefined
  until: number | undefined
  readonly transport: { settle (known: boolean): void }
  readonly sink: MqttSink | undefined
  readonly evidence: Evidence | undefined
  readonly publishes: Publishes
  readonly isClosed: boolean
  /** Nothing more is read of it. */
  hold (): void
  /** Holds the connection as long as the engine says. */
  pace (held: boolean): void
  dropWill (): void
  close (how: { reason: number, reference?: string | undefined, why?: string }): void
  sweep (now: number): void
}

/** A connected session with its connection; `ended` resolves when the engine knows that it is over. */
export interface Connected { session: Session, connection: ListedConnection, ended: Promise<void>, end: () => void }

export interface SessionsContext {
  readonly engine: Pick<Engine, 'submit' | 'hangUp' | 'closeSession' | 'prove'>
  readonly pump: Pick<Pump, 'remove'>
  readonly tick: Pick<Tick, 'discard'>
  readonly waiting: Pick<WaitingWills, 'goesOn' | 'ended' | 'discard'>
  readonly wills: Pick<Wills, 'announced' | 'left' | 'moved'>
  /** Asked for each time: it changes. */
  readonly elsewhere: Elsewhere | undefined
  readonly log: Logger
  /** Removes what is stored elsewhere for a session that is over. */
  forget (session: string): Promise<void>
}

/** Which connections there are, of whom, and which session each has. */
export class Sessions {
  readonly #context: SessionsContext
  readonly connections = new Set<ListedConnection>()
  /** By session id. */
  readonly connected = new Map<string, Connected>()
  readonly #users = new Map<string, number>()

  constructor (context: SessionsContext) { this.#context = context }

  /** The connection's user is known; `countOf` counts it from now on. */
  enter (connection: ListedConnection, user: string): void {
    connection.user = user
    connection.transport.settle(true)
    connection.claims = undefined
    this.#users.set(user, this.countOf(user) + 1)
  }

  /** The connections of a user, those that are not done with connecting included. */
  countOf (user: string): number { return this.#users.get(user) ?? 0 }

  /**
   * `present`: it goes on with what was stored; otherwise an earlier one of its name is over. `from`: the other process that had that one.
   * Resolves when the will of that is sent.
   */
  add (session: Session, connection: ListedConnection, present: boolean, from?: string): Promise<void> | undefined {
    const { waiting, wills } = this.#context
    if (present) waiting.goesOn(session.id)
    const said = present ? undefined : waiting.ended(session.id)
    let end = (): void => {}
    const ended = new Promise<void>(resolve => { end = resolve })
    this.connected.set(session.id, { session, connection, ended, end })
    wills.announced(connection)
    return from === undefined ? said : wills.moved(session.id, from, present)
  }

  /** What the engine says of sessions and their connections. */
  hear (output: Extract<Output, { kind: 'kick' | 'extended' | 'expired' }>): void {
    switch (output.kind) {
      case 'kick': return this.kick(output)
      case 'extended': return this.#extend(output)
      case 'expired': return this.expired(output.session)
    }
  }

  /** Closes a user's connections; those that wait for their password are refused with `code` if it was right. */
  kick (kick: Extract<Output, { kind: 'kick' }>): void {
    const { user, session, code } = kick
    if (code === 'taken_over') return this.#takenOver(session)
    // Who is banned or removed says nothing more, not even by a will.
    const silent = code === 'banned' || code === 'not_found'
    if (silent) this.#context.waiting.discard(user)
    // Not by session: those that are not done with connecting have none that the pump knows.
    for (const connection of [...this.connections]) {
      if (!isMeant(kick, connection.grant)) continue
      if (connection.claims === user && session === undefined) connection.kicked = code
      if (connection.user !== user || (session !== undefined && connection.session?.id !== session)) continue
      if (silent) connection.dropWill()
      connection.close({ reason: disconnectReasons.administrative })
    }
  }

  /** The connections of a login go on until then. */
  #extend ({ user, grant, until }: Extract<Output, { kind: 'extended' }>): void {
    for (const connection of this.connections) {
      if (connection.grant === grant && (connection.user === user || connection.claims === user)) connection.until = until
    }
  }

  /** The session goes on at another server [MQTT-3.1.4-3]. Not by `connected`: it may not be there yet. */
  #takenOver (session: string | undefined): void {
    for (const connection of [...this.connections]) {
      if (session !== undefined && connection.session?.id === session) connection.close({ reason: disconnectReasons.takenOver })
    }
  }

  /** The session is over: what is stored elsewhere for it goes. */
  expired (session: string): void {
    const { waiting, log } = this.#context
    unwaited(waiting.ended(session))
    this.#context.forget(session).catch((err: Error) => { logFailure(log, err, { session }, 'an expired session was not forgotten') })
  }

  /** The connection is over: its session is put away, its will published unless it said goodbye. Safe to call twice. */
  leave (connection: ListedConnection, graceful: boolean): void {
    if (this.connections.delete(connection)) {
      // What is left of its socket is no more than a stranger's.
      connection.transport.settle(false)
      const ofUser = this.countOf(connection.user) - 1
      if (ofUser > 0) this.#users.set(connection.user, ofUser)
      else this.#users.delete(connection.user)
    }
    const { session } = connection
    if (session !== undefined && !session.closed) this.#putAway(session, connection, graceful)
  }

  #putAway (session: Session, connection: ListedConnection, graceful: boolean): void {
    const { engine, pump, tick, wills, log } = this.#context
    const { evidence, publishes, sink } = connection
    pump.remove(session)
    session.close()
    const inflight = sink?.inflight() ?? []
    const own = session.own.list()
    // What was read this turn is the engine's before it hears that nobody waits for answers.
    const unsubmitted = tick.discard(session.id)
    if (unsubmitted.length > 0) engine.submit(unsubmitted)
    engine.hangUp(session.id, graceful)
    const willSent = wills.left(connection)
    const connected = this.connected.get(session.id)
    // Publishes that the engine has not answered are not graceful, whatever the client said.
    const clean = graceful && !publishes.busy
    const proven = clean && !publishes.unfinished ? evidence?.number : evidence?.proven
    engine.closeSession({ session: session.id, expirySeconds: session.expirySeconds, graceful: clean, inflight, proven: proven ?? 0, ...own.length > 0 && { own } })
      .catch((err: Error) => { logFailure(log, err, { session: session.id }, 'the end of a session was not stored') })
      .then(() => willSent)
      .then(() => {
        if (connected?.session !== session) return
        this.connected.delete(session.id)
        if (!session.persistent) this.expired(session.id)
        connected.end()
      }, (err: Error) => { log.error({ err }, 'a session was not put away') })
  }

  /** Called every second: limits of time and rate, and the engine hears which answers the clients have. */
  sweep (now: number): void {
    for (const connection of this.connections) connection.sweep(now)
    const proofs = []
    for (const { session, connection: { evidence, publishes } } of this.connected.values()) {
      if (evidence === undefined || publishes.resends === undefined || evidence.proven === evidence.told || session.closed) continue
      evidence.told = evidence.proven
      proofs.push({ session: session.id, epoch: publishes.resends.epoch, proven: evidence.proven })
    }
    if (proofs.length > 0) this.#context.engine.prove(proofs)
  }

  /** Closes all connections (MQTT 5 clients are told); resolves when their sessions are stored, after `flush` has handed on what they brought. */
  async close (flush: () => void): Promise<void> {
    const ends = [...this.connected.values()].map(async one => { await one.ended })
    const { elsewhere } = this.#context
    const how = { reason: elsewhere?.reason ?? disconnectReasons.shuttingDown, reference: elsewhere?.address }
    for (const connection of [...this.connections]) connection.close(how)
    flush()
    await Promise.all(ends)
  }
}

/** By the login that let it in. */
export function isMeant ({ grant, spare }: Extract<Output, { kind: 'kick' }>, of: string | undefined): boolean {
  return (grant === undefined || grant === of) && (spare === undefined || spare !== of)
}
