import type { Logger } from 'pino'
import type { Engine, Output } from '../link/port.ts'
import { PerSecond } from '../per-second.ts'
import type { Topics } from '../topics.ts'
import { Turns } from '../turns.ts'
import { Clock } from './clock.ts'
import { AnswerRoom } from './connection/answers.ts'
import { ConnectHandler } from './connection/connect.ts'
import { Connection, type ConnectionContext } from './connection/connection.ts'
import { OrdinarySide } from './connection/ordinary-side.ts'
import { PendingPublishes } from './connection/pending-publishes.ts'
import { PublishAnswers, type Pending } from './connection/publish-answers.ts'
import { PublishHandler } from './connection/publish.ts'
import { SubscribeHandler } from './connection/subscribe.ts'
import { UnsubscribeHandler } from './connection/unsubscribe.ts'
import { ChatWills } from './connection/will.ts'
import { Wills } from './connection/wills.ts'
import { Pump } from './delivery/pump.ts'
import type { GatewayLimits } from './limits.ts'
import { Sockets } from './listener/sockets.ts'
import type { Acceptor, Transport } from './listener/transport.ts'
import { Locks } from './locks.ts'
import type { OpenTopics } from './open-topics.ts'
import type { OrdinaryTopics } from './ordinary-topics.ts'
import { Sessions } from './sessions.ts'
import { Tick } from './tick.ts'

export interface GatewayOptions {
  engine: Engine
  /** Of `Engine.describe`. */
  serverInfo: Record<string, unknown>
  /** The time of the server, milliseconds since the epoch. */
  now: () => number
  /** Milliseconds of a clock that only goes forward; for delivery. */
  steady?: () => number
  topics: Topics
  openTopics: OpenTopics
  /** Absent when no ordinary topic is open. */
  ordinary: OrdinaryTopics | undefined
  limits: GatewayLimits
  log: Logger
  /** Clients without a user name may use ordinary topics. */
  anonymous: boolean
}

const sweepIntervalMs = 1000

/** The sockets' side of the server: connections, sessions, delivery. It decides nothing about messages, and here its parts are wired. */
export class Gateway implements Acceptor {
  readonly limits: GatewayLimits
  readonly log: Logger
  readonly clock = new Clock()
  readonly sockets: Sockets
  readonly sessions: Sessions
  readonly pump: Pump
  readonly turns: Turns
  readonly answerRoom: AnswerRoom
  readonly pending = new PendingPublishes<Pending>()
  readonly wills: Wills
  readonly locks = new Locks()
  readonly takeovers: PerSecond
  readonly #tick: Tick
  readonly #publishAnswers: PublishAnswers
  readonly #chatWills: ChatWills
  readonly #connection: ConnectionContext
  readonly #timer: NodeJS.Timeout
  /** Sessions of which no connection is read, as the engine says. */
  readonly #full = new Set<string>()
  readonly #now: () => number
  #closing = false

  constructor ({ engine, serverInfo, now, steady, topics, openTopics, ordinary, limits, log, anonymous }: GatewayOptions) {
    const { clock, locks, pending } = this
    const full = this.#full
    this.#now = now
    const tick = this.#tick = new Tick(engine)
    const pump = this.pump = new Pump(engine, { now, steady: steady ?? (() => clock.now), fresh: steady ?? (() => clock.refresh()), later: run => { tick.first(run) }, recentBytes: limits.recentBytes })
    const turns = this.turns = new Turns({ contended: () => pump.pauses.sending })
    const wills = this.wills = new Wills(limits)
    const answerRoom = this.answerRoom = new AnswerRoom(limits.answerBytes, limits.answerBytesPerUser)
    this.limits = limits
    this.log = log
    const chatWills = this.#chatWills = new ChatWills({ full, topics, pending, tick, clock, wills })
    const forget = async (session: string): Promise<void> => { await ordinary?.forget(session) }
    const sessions = this.sessions = new Sessions({ engine, pump, tick, clock, wills, chatWills, log, forget })
    const ordinarySide = new OrdinarySide({ topics, openTopics, ordinary, delayWill: (session, will) => { sessions.delayWill(session, will) } })
    const publishAnswers = this.#publishAnswers = new PublishAnswers({ topics, pump, tick, pending, log })
    const takeovers = this.takeovers = new PerSecond(limits.takeoversPerSecond)
    this.#connection = {
      clock,
      turns,
      tick,
      limits,
      frameLimits: {
        maxClientIdBytes: limits.clientIdBytes,
        maxTopicBytes: limits.topicBytes,
        maxTopicLevels: limits.topicLevels,
        maxFilters: limits.subscriptionsPerSession
      },
      log,
      steady: pump.steady,
      left: (connection, graceful) => {
        // First: what waits for its answer is unanswered, whatever the client said.
        sessions.leave(connection, graceful)
        publishAnswers.left(connection)
      },
      handlers: {
        connect: new ConnectHandler({ engine, full, pump, sessions, locks, takeovers, topics, ordinarySide, limits, anonymous, log }),
        publish: new PublishHandler({ topics, limits, pending, tick, publishAnswers, answerRoom, ordinarySide }),
        subscribe: new SubscribeHandler({ engine, serverInfo, topics, limits, ordinarySide }),
        unsubscribe: new UnsubscribeHandler({ engine, topics })
      }
    }
    this.sockets = new Sockets(limits, address => {
      log.warn({ address, connections: sessions.connections.size, sockets: this.sockets.count }, 'too many connections')
    })
    this.#timer = setInterval(() => { this.#sweep() }, sweepIntervalMs)
    this.#timer.unref()
  }

  accept (transport: Transport): void {
    if (this.#closing) return transport.destroy()
    this.clock.refresh()
    this.sessions.connections.add(new Connection(this.#connection, transport))
  }

  /** What the engine says, in its order. */
  output (outputs: Output[]): void {
    this.clock.refresh()
    const { pump, sessions } = this
    pump.turned(this.#tick.turnMs)
    for (const output of outputs) {
      switch (output.kind) {
        case 'verdict': this.#publishAnswers.settle(output); break
        case 'message': pump.message(output); break
        case 'event': pump.event(output); break
        case 'members': pump.members(output); break
        case 'notice': pump.notice(output.user, output.payload); break
        case 'kick': sessions.kick(output.user, output.session, output.code); break
        case 'hold': this.#hold(output); break
        case 'expired': sessions.expired(output.session); break
      }
    }
  }

  #hold ({ session, held, full }: Extract<Output, { kind: 'hold' }>): void {
    if (full === true) this.#full.add(session)
    if (!held) {
      this.#full.delete(session)
      this.#chatWills.released(session)
    }
    this.sessions.connected.get(session)?.connection.pace(held)
  }

  #sweep (): void {
    // Asked often enough to notice that the machine's clock was set back.
    this.#now()
    const now = this.clock.refresh()
    this.sessions.sweep(now)
    this.pump.trim()
    this.wills.sweep(now)
  }

  /** Closes all connections (MQTT 5 clients are told) and waits until their sessions are stored. */
  async close (): Promise<void> {
    this.#closing = true
    clearInterval(this.#timer)
    this.locks.close()
    // Who waits for an answer that is known hears it before the connection ends.
    this.pump.pressure.close()
    await this.sessions.close(() => {
      this.wills.close()
      this.#tick.run()
    })
    this.pump.close()
  }
}
