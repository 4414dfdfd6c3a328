import type { Logger } from 'pino'
import type { Records } from '../link/core.ts'
import type { Measure } from '../link/measures.ts'
import type { Engine, Output } from '../link/port.ts'
import { PerSecond } from '../per-second.ts'
import type { Topics } from '../topics.ts'
import { Turns } from '../turns.ts'
import { Clock } from './clock.ts'
import { AnswerRoom } from './connection/answers.ts'
import { Admission } from './connection/admission.ts'
import { AuthHandler } from './connection/auth.ts'
import { CompactForms } from './connection/compact-forms.ts'
import { ConnectHandler } from './connection/connect.ts'
import { Connection, type ConnectionContext } from './connection/connection.ts'
import type { Elsewhere } from './connection/elsewhere.ts'
import { Departures } from './departures.ts'
import { logFailure } from './connection/failure.ts'
import { OrdinarySide } from './connection/ordinary-side.ts'
import { PendingPublishes } from './connection/pending-publishes.ts'
import { PublishAnswers, type Pending } from './connection/publish-answers.ts'
import { PublishHandler } from './connection/publish.ts'
import { ServerDocument } from './connection/server-document.ts'
import { SubscribeHandler } from './connection/subscribe.ts'
import { UnsubscribeHandler } from './connection/unsubscribe.ts'
import { Pump } from './delivery/pump.ts'
import { Intake } from './intake.ts'
import type { GatewayLimits } from './limits.ts'
import { Sockets } from './listener/sockets.ts'
import type { Acceptor, Transport } from './listener/transport.ts'
import { Locks } from './locks.ts'
import { GatewayMeasures } from './measures.ts'
import type { OpenTopics } from './open-topics.ts'
import type { OrdinaryTopics } from './ordinary-topics.ts'
import { Sessions } from './sessions.ts'
import { Shares } from './shares.ts'
import { Streams, type StreamLimits } from './streams/streams.ts'
import { SysTopics, type SysOptions } from './sys-topics.ts'
import { Tick } from './tick.ts'
import { Traffic } from './traffic.ts'
import { Visits, type VisitLimits } from './visits.ts'
import { WaitingWills } from './wills/waiting.ts'
import { WillRows, type SharedRows } from './wills/will-rows.ts'
import { Wills } from './wills/wills.ts'

export interface GatewayOptions {
  engine: Engine
  /** Of `Engine.describe`. */
  serverInfo: Record<string, unknown>
  /** The time of the server, milliseconds since the epoch. */
  now: () => number
  /** The machine's clock is off by so much from now on, milliseconds: `now` is to follow. */
  onClock?: (aheadMs: number) => void
  /** Milliseconds of a clock that only goes forward; for delivery. */
  steady?: () => number
  /** Outputs may come so late, twice or not at all, milliseconds. 0 (the default): they come once and in order, as one engine says them. */
  lateMs?: number
  topics: Topics
  openTopics: OpenTopics
  /** Absent when no ordinary topic is open. */
  ordinary: OrdinaryTopics | undefined
  /** Where wills outlive the server; without it they do not. */
  records?: Pick<Records, 'range' | 'write'>
  /** Of those that share the store; absent where this process has it for itself. */
  shared?: SharedRows | undefined
  limits: GatewayLimits
  log: Logger
  /** Clients without a user name may use ordinary topics. */
  anonymous: boolean
  /** A user name need not be given: what a client brings says who it is. */
  nameless?: boolean
  /** Who may read `$SYS`; nobody when absent. */
  sys?: SysOptions
  /** Methods of enhanced authentication; none when absent. */
  authMethods?: readonly string[]
  /** Another server that clients are told of. */
  elsewhere?: Elsewhere | undefined
  /** Tells a user's sessions at other servers, which may not hear of it; absent where there are none. */
  tellOthers?: ((user: string, payload: Uint8Array) => void) | undefined
  /** Users who ask without a connection of MQTT. */
  visits?: VisitLimits
  /** Users who read without one. */
  streams?: StreamLimits
}

const sweepIntervalMs = 1000

/** The sockets' side of the server: connections, sessions, delivery. It decides nothing about messages, and here its parts are wired. */
export class Gateway implements Acceptor {
  readonly limits: GatewayLimits
  readonly log: Logger
  readonly clock = new Clock()
  readonly sockets: Sockets
  readonly sessions: Sessions
  readonly departures: Departures
  readonly pump: Pump
  readonly turns: Turns
  readonly answerRoom: AnswerRoom
  readonly pending = new PendingPublishes<Pending>()
  readonly wills: WaitingWills
  readonly locks = new Locks()
  readonly takeovers: PerSecond
  readonly visits: Visits
  readonly streams: Streams
  readonly #intake: Intake
  readonly #tick: Tick
  readonly #publishAnswers: PublishAnswers
  readonly #shares: Shares
  readonly #wills: Wills
  readonly #serverDocument: ServerDocument
  readonly #connection: ConnectionContext
  readonly #measures = new GatewayMeasures()
  readonly #traffic: Traffic
  readonly #timer: NodeJS.Timeout
  readonly #sys: SysTopics
  /** Sessions of which no connection is read, as the engine says. */
  readonly #full = new Set<string>()
  readonly #now: () => number
  readonly #onClock: (aheadMs: number) => void
  #closing = false

  constructor ({ engine, serverInfo, now, onClock = () => {}, steady, topics, openTopics, ordinary, records, shared, limits, log, anonymous, nameless = false, lateMs = 0, sys: sysOptions = { intervalSeconds: 0, mayRead: () => false }, authMethods = [], elsewhere, tellOthers, visits: visitLimits = { visits: 0, visitsPerUser: 0 }, streams: streamLimits = { streams: 0, streamsPerUser: 0 } }: GatewayOptions) {
    const [full, traffic, measures, { clock, locks, pending }] = [this.#full, new Traffic(), this.#measures, this]
    ;[this.#now, this.#onClock, this.#traffic, this.limits, this.log] = [now, onClock, traffic, limits, log]
    const intake = this.#intake = new Intake(limits.queuedPublishes)
    const tick = this.#tick = new Tick(engine, intake)
    const pump = this.pump = new Pump(engine, { now, steady: steady ?? (() => clock.now), fresh: steady ?? (() => clock.refresh()), later: run => { tick.first(run) }, recentBytes: limits.recentBytes, looking: limits.opening, lateMs })
    const turns = this.turns = new Turns({ contended: () => pump.pauses.sending })
    const waiting = this.wills = new WaitingWills(limits)
    const answerRoom = this.answerRoom = new AnswerRoom(limits.answerBytes, limits.answerBytesPerUser)
    const rows = new WillRows(records, shared, err => { logFailure(log, err, {}, 'wills could not be stored') })
    const wills = this.#wills = new Wills({ engine, full, topics, ordinary, pending, tick, clock, now, waiting, rows, log })
    const forget = async (session: string): Promise<void> => { await ordinary?.forget(session) }
    const sessions: Sessions = this.sessions = new Sessions({ engine, pump, tick, waiting, wills, get elsewhere (): Elsewhere | undefined { return departures.elsewhere }, log, forget })
    const departures: Departures = this.departures = new Departures({ sessions, elsewhere, steady: pump.steady })
    const shares = this.#shares = new Shares({ engine, pump, topics, limits, log })
    const visits = this.visits = new Visits({ engine, tick, intake, pending, pump, answerRoom }, visitLimits)
    this.streams = new Streams({ engine, pump, topics, opening: shares.opening, traffic, window: limits.inflight, log }, streamLimits)
    const ordinarySide = new OrdinarySide({ openTopics, ordinary, limits })
    const serverDocument = this.#serverDocument = new ServerDocument(topics, serverInfo)
    const publishAnswers = this.#publishAnswers = new PublishAnswers({ clock, measures, topics, pump, tick, pending, wills, visits, tellOthers, log })
    const auth = new AuthHandler({ engine, clock, methods: new Set(authMethods) })
    const takeovers = this.takeovers = new PerSecond(limits.takeoversPerSecond)
    const sys = this.#sys = new SysTopics(sysOptions, { version: String(serverInfo['version']), connected: sessions.connected, traffic, ordinary })
    this.#connection = {
      traffic,
      clock,
      turns,
      intake,
      tick,
      limits,
      frameLimits: {
        maxClientIdBytes: limits.clientIdBytes,
        maxTopicBytes: limits.topicBytes,
        maxTopicLevels: limits.topicLevels,
        maxFilters: limits.subscriptionsPerSession,
        maxTopicAlias: limits.topicAliases
      },
      log,
      now,
      steady: pump.steady,
      left: (connection, graceful) => {
        // First: what waits for its answer is unanswered, whatever the client said.
        sessions.leave(connection, graceful)
        publishAnswers.left(connection)
      },
      handlers: {
        auth,
        connect: new ConnectHandler({ refused: measures.refusedConnections, engine, admission: new Admission({ engine, auth, topics, ordinarySide, anonymous, nameless }), auth, full, pump, forms: new CompactForms(), sessions, shares, locks, opening: shares.opening, takeovers, fetched: new PerSecond(limits.takeoversPerSecond), topics, ordinarySide, limits, get elsewhere (): Elsewhere | undefined { return departures.elsewhere }, log }),
        publish: new PublishHandler({ clock, topics, limits, pending, tick, intake, publishAnswers, answerRoom, ordinarySide }),
        subscribe: new SubscribeHandler({ engine, serverDocument, topics, limits, ordinarySide, shares, sys }),
        unsubscribe: new UnsubscribeHandler({ engine, topics })
      }
    }
    this.sockets = new Sockets(limits, address => {
      log.warn({ address, connections: sessions.connections.size, sockets: this.sockets.count }, 'too many connections')
    })
    this.#timer = setInterval(() => { this.#sweep() }, sweepIntervalMs)
    this.#timer.unref()
  }

  /** Takes up what an earlier run left; to be called before there are connections. */
  async restore (): Promise<void> { await this.#wills.restore() }

  get draining (): boolean { return this.departures.draining }

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
        case 'hold': this.#hold(output); break
        case 'intake': this.#intake.fill(output.full); break
        case 'server': this.#serverDocument.change(output.info, sessions.connected.values()); break
        case 'kick': case 'extended': case 'expired': this.#end(output); break
        default: this.#fromOthers(output)
      }
    }
    this.#measures.delivered(outputs, this.#now())
  }

  #end (output: Extract<Output, { kind: 'kick' | 'extended' | 'expired' }>): void {
    // Of a single login its visits are asked for again, no more.
    if (output.kind === 'extended') this.visits.kick(output.user, output.grant, 'unauthorized')
    // `spare`: all but one are to end, and visits are not told apart.
    if (output.kind === 'kick') this.visits.kick(output.user, output.session ?? output.grant, output.code)
    if (output.kind !== 'expired') this.streams.hear(output)
    this.sessions.hear(output)
  }

  /** What carries outputs between servers says by itself. */
  #fromOthers (output: Extract<Output, { kind: 'behind' | 'whole' | 'groups' | 'clock' }>): void {
    const { pump } = this
    if (output.kind === 'behind') pump.behind(output)
    else if (output.kind === 'whole') pump.wholeMs = output.upTo
    else if (output.kind === 'groups') pump.lookAgain(output)
    else this.#onClock(output.aheadMs)
  }

  #hold ({ session, held, full }: Extract<Output, { kind: 'hold' }>): void {
    if (full === true) this.#full.add(session)
    if (!held) {
      this.#full.delete(session)
      this.#wills.released(session)
    }
    this.sessions.connected.get(session)?.connection.pace(held)
  }

  #sweep (): void {
    // Asked often enough to notice that the machine's clock was set back.
    const time = this.#now()
    const now = this.clock.refresh()
    this.sessions.sweep(now)
    this.streams.sweep(time, this.pump.steady())
    this.#shares.sweep(this.pump.steady())
    this.pump.trim()
    this.#wills.sweep(now)
  }

  /** What it counts for those who run the server. */
  measures (): Measure[] {
    const { sessions, sockets, visits, pending, draining } = this
    return this.#measures.read({ traffic: this.#traffic, connected: sessions.connected, sockets, visits, pending, draining })
  }

  /** Closes all connections (MQTT 5 clients are told) and waits until their sessions are stored. */
  async close (): Promise<void> {
    this.#closing = true
    clearInterval(this.#timer)
    this.departures.close()
    this.#sys.close()
    this.locks.close()
    // Who waits for an answer that is known hears it before the connection ends.
    this.pump.pressure.close()
    this.visits.close()
    this.streams.close()
    await this.sessions.close(() => { this.#tick.run() })
    await this.#shares.close()
    await this.#wills.close()
    this.pump.close()
  }
}
