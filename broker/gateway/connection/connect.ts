import type { Logger } from 'pino'
import { Refusal, type Code } from '../../errors.ts'
import type { Answer, Engine, SessionResume } from '../../link/port.ts'
import { encodeConnackRefusal, type ConnectFrame } from '../../mqtt/index.ts'
import type { PerSecond } from '../../per-second.ts'
import { isId, type Topics } from '../../topics.ts'
import type { Pump } from '../delivery/pump.ts'
import { Session } from '../delivery/session.ts'
import type { GatewayLimits } from '../limits.ts'
import type { Locks } from '../locks.ts'
import type { ListedConnection, Sessions } from '../sessions.ts'
import { encodeConnack } from './connack.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import { Evidence } from './evidence.ts'
import { Contested, logFailure } from './failure.ts'
import { MqttSink, type SinkPeer } from './mqtt-sink.ts'
import type { OrdinarySide, OrdinarySideClient } from './ordinary-side.ts'
import { maxWindow } from './packet-ids.ts'

/** CONNACK codes of a refusal: return code of 3.1.1 (section 3.2.2.3), reason code of 5 (section 3.2.2.2). */
const connackCodes: Partial<Record<Code, [number, number]>> = {
  unauthorized: [5, 0x87],
  forbidden: [5, 0x87],
  banned: [5, 0x8a],
  // The account was removed while its password was looked at.
  not_found: [5, 0x87],
  rate_limited: [3, 0x97],
  unavailable: [3, 0x88],
  bad_payload: [4, 0x86],
  too_large: [2, 0x85]
}

let assigned = 0
const assignedPrefix = `auto-${Date.now().toString(36)}${Math.floor(Math.random() * 46656).toString(36)}-`

/** A connection that says who it is. What is found out about it is set here, once. */
export interface ConnectingClient extends ListedConnection, SinkPeer, OrdinarySideClient {
  user: string
  clientId: string
  session: Session | undefined
  sink: MqttSink | undefined
  evidence: Evidence | undefined
  will: ConnectFrame['will'] | undefined
  maximumPacketBytes: number
  receiveMaximum: number
  problemInformation: boolean
  keepAliveMs: number
  readonly phase: 'new' | 'connecting' | 'open' | 'closed'
  readonly transport: { readonly address: string, settle (known: boolean): void }
  /** From now on its packets are served. */
  opened (): void
  close (how?: { reason?: number }): void
}

export interface ConnectContext {
  readonly engine: Pick<Engine, 'authenticate' | 'willRefusal' | 'openSession'>
  /** Sessions of which no connection is read: so much of them waits for their sender's rate. */
  readonly full: ReadonlySet<string>
  readonly pump: Pump
  readonly sessions: Pick<Sessions, 'connected' | 'enter' | 'countOf' | 'add' | 'leave'>
  readonly locks: Pick<Locks, 'take' | 'pause'>
  /** Of sessions, by their ids. */
  readonly takeovers: PerSecond
  readonly topics: Topics
  readonly ordinarySide: Pick<OrdinarySide, 'attach' | 'forget' | 'knows' | 'mayPublish'>
  readonly limits: Pick<GatewayLimits, 'connectionsPerUser' | 'pendingPublishes' | 'pendingQos2' | 'packetBytes' | 'inflight' | 'keepAliveMaxSeconds' | 'sessionExpirySeconds' | 'maxSessionExpirySeconds'>
  /** Clients without a user name may use ordinary topics. */
  readonly anonymous: boolean
  readonly log: Logger
}

/** CONNECT: who is it, may it, which session. */
export class ConnectHandler {
  readonly #context: ConnectContext

  constructor (context: ConnectContext) { this.#context = context }

  /** Answers a CONNECT, also when the server cannot do what it asks for. The connection is held until this is done. */
  async handle (client: ConnectingClient, frame: ConnectFrame): Promise<void> {
    const { locks, log } = this.#context
    client.clientId = frame.clientId
    try {
      await this.#open(client, frame)
    } catch (err) {
      if (client.isClosed) return
      if (client.phase !== 'connecting') throw err
      // Held until then, so that it cannot ask again: what it costs is one connection a second.
      if (err instanceof Contested) await locks.pause()
      if (client.isClosed) return
      if (err instanceof Refusal) return refuse(log, client, frame, err)
      logFailure(log, err as Error, { ...named(frame), address: client.transport.address }, 'a CONNECT could not be answered')
      refuse(log, client, frame, new Refusal('unavailable'))
    }
  }

  /** Throws `Refusal`. */
  async #open (client: ConnectingClient, frame: ConnectFrame): Promise<void> {
    const { engine, limits, locks, sessions, takeovers } = this.#context
    if (frame.properties?.authenticationMethod !== undefined) {
      // Enhanced authentication is not offered (MQTT 5.0, section 4.12).
      client.output.write(encodeConnackRefusal(5, 0x8c))
      return client.close()
    }
    // Those who fight for a session are turned away before their passwords are hashed; only who was let in is counted.
    const claimed = `${frame.username ?? ''}/${frame.clientId}`
    if (sessions.connected.has(claimed) && !takeovers.has(claimed)) throw tooManyTakeovers()
    const user = await this.#admitted(client, frame)
    if (client.isClosed) return
    // In one turn with the entry, from which on a kick closes the connection.
    if (client.kicked !== undefined) throw new Refusal(client.kicked)
    sessions.enter(client, user)
    // From here on a ban takes it away.
    client.will = frame.will
    const clientId = frame.clientId !== '' ? frame.clientId : assignedPrefix + (++assigned).toString(36)
    const id = `${user}/${clientId}`
    client.clientId = clientId
    const expirySeconds = expiryOf(frame, limits)
    const unlock = await locks.take(id)
    try {
      await this.#takeOver(id)
      if (client.isClosed) return
      if (sessions.countOf(user) > limits.connectionsPerUser && user !== '') {
        throw new Refusal('rate_limited', 'too many connections of this user')
      }
      const resumed = valueOf(await engine.openSession({ session: id, user, clientId, cleanStart: frame.clean, expirySeconds }))
      const session = this.#begin(client, frame, resumed, { id, user, expirySeconds })
      await this.#serve(client, frame, session, resumed)
    } finally {
      unlock()
    }
  }

  /** [MQTT-3.1.4-2]: the same user's earlier connection ends first. */
  async #takeOver (id: string): Promise<void> {
    const { sessions, takeovers } = this.#context
    const old = sessions.connected.get(id)
    if (old === undefined) return
    if (!takeovers.take(id)) throw tooManyTakeovers()
    old.connection.close({ reason: disconnectReasons.takenOver })
    await old.ended
  }

  /** The engine has opened the session: from here on it ends with the connection. */
  #begin (client: ConnectingClient, { protocolVersion, properties }: ConnectFrame, resumed: SessionResume, of: { id: string, user: string, expirySeconds: number }): Session {
    const { limits, pump, topics } = this.#context
    const receiveMaximum = this.#receiveMaximum
    if (protocolVersion === 5) client.receiveMaximum = receiveMaximum
    client.maximumPacketBytes = properties?.maximumPacketBytes ?? client.maximumPacketBytes
    client.problemInformation = properties?.requestProblemInformation !== false
    const window = Math.min(limits.inflight, properties?.receiveMaximum ?? 65535, maxWindow)
    if (resumed.resends !== undefined) {
      client.publishes.resends = resumed.resends
      // An MQTT 3 client may have as many unanswered as there are packet ids.
      client.evidence = new Evidence(protocolVersion === 5 ? receiveMaximum : 65_536)
    }
    client.sink = new MqttSink(client, topics, { window, resumed: resumed.inflight, evidence: client.evidence })
    client.session = new Session(pump, client.sink, { ...of, window })
    return client.session
  }

  get #receiveMaximum (): number {
    const { pendingPublishes, pendingQos2 } = this.#context.limits
    return Math.min(pendingPublishes, pendingQos2, 65535)
  }

  async #serve (client: ConnectingClient, frame: ConnectFrame, session: Session, { present, inflight, subscriptions }: SessionResume): Promise<void> {
    const { full, log, ordinarySide, pump, sessions, topics } = this.#context
    const { id, user } = session
    sessions.add(session, client, present)
    // What its last connection sent waits for its sender's rate: each connection would bring more.
    if (full.has(id)) client.pace(true)
    if (client.isClosed) return sessions.leave(client, false)
    // One session, two keepers: what ordinary topics keep for it goes when the session itself has gone.
    if (!present) await ordinarySide.forget(id)
    if (client.isClosed) return
    for (const { filter, qos } of subscriptions) {
      const means = topics.filter(filter, user)
      if (means !== undefined) session.interest.set(filter, means, qos)
    }
    this.#accept(client, frame, session, present)
    log.debug({ user, clientId: client.clientId, version: frame.protocolVersion, present, address: client.transport.address }, 'connected')
    const ordinaryWill = frame.will !== undefined && !topics.isChat(frame.will.topic)
    if (ordinaryWill || (session.persistent && ordinarySide.knows(id))) await ordinarySide.attach(client)
    session.interest.sum()
    await session.resend(inflight)
    if (session.closed) return
    client.sink?.resent()
    pump.add(session)
    session.applyInterest()
  }

  /** The CONNACK. */
  #accept (client: ConnectingClient, frame: ConnectFrame, { expirySeconds }: Session, present: boolean): void {
    const { limits } = this.#context
    const keepAliveSeconds = serverKeepAlive(frame, limits.keepAliveMaxSeconds)
    client.keepAliveMs = (keepAliveSeconds ?? frame.keepAliveSeconds) * 1000
    client.opened()
    client.output.write(encodeConnack(frame.protocolVersion, present, {
      receiveMaximum: this.#receiveMaximum,
      maximumPacketBytes: limits.packetBytes,
      ...(frame.clientId === '' ? { assignedClientId: client.clientId } : {}),
      ...(keepAliveSeconds !== undefined ? { serverKeepAliveSeconds: keepAliveSeconds } : {}),
      ...(expirySeconds !== (frame.properties?.sessionExpirySeconds ?? 0) ? { sessionExpirySeconds: expirySeconds } : {})
    }))
  }

  /** The user's id ('' for an anonymous client of ordinary topics). Throws `Refusal`. */
  async #admitted (client: ConnectingClient, frame: ConnectFrame): Promise<string> {
    const { engine, anonymous } = this.#context
    let user = ''
    if (frame.username !== undefined || !anonymous) {
      if (frame.username !== undefined && !isId(frame.username)) throw new Refusal('bad_payload', 'a user name is 1 to 64 of A-Z a-z 0-9 . _ -')
      client.claims = frame.username
      user = valueOf(await engine.authenticate({ user: frame.username, password: frame.password, address: client.transport.address })).user
    }
    if (frame.will !== undefined) await this.#mayLeave(frame.will, user)
    return user
  }

  /** Throws `Refusal` for a will that the user may not publish. */
  async #mayLeave (will: NonNullable<ConnectFrame['will']>, user: string): Promise<void> {
    const { engine, ordinarySide, topics } = this.#context
    const target = topics.isChat(will.topic) ? topics.target(will.topic) : undefined
    if (target === undefined) {
      if (!ordinarySide.mayPublish(will.topic)) throw mayNotLeave()
      return
    }
    if (user === '' || 'refuse' in target || target.kind === 'rpc') throw mayNotLeave()
    const { contentType, payloadFormat } = will.properties ?? {}
    const wrong = await engine.willRefusal({ user, target, payload: will.payload, contentType, utf8: payloadFormat === 1 })
    // Whatever it is: 3.1.1 has no other code that would say that it is not the password (section 3.2.2.3).
    if (wrong !== undefined) throw mayNotLeave(`: ${wrong}`)
  }
}

/** Throws `Refusal` for an answer that is one. */
function valueOf<Value> (answer: Answer<Value>): Value {
  if (answer.ok) return answer.value
  throw new Refusal(answer.code, answer.reason, answer.retryAfterMs)
}

/** Seconds that the session is to outlive its connection. */
function expiryOf (frame: ConnectFrame, limits: Pick<GatewayLimits, 'sessionExpirySeconds' | 'maxSessionExpirySeconds'>): number {
  if (frame.protocolVersion === 5) return Math.min(frame.properties?.sessionExpirySeconds ?? 0, limits.maxSessionExpirySeconds)
  return frame.clean ? 0 : limits.sessionExpirySeconds
}

function tooManyTakeovers (): Refusal { return new Contested('the session is taken over too often') }
function mayNotLeave (why = ''): Refusal { return new Refusal('forbidden', `the will may not be published${why}`) }

/** As whom a client comes, for the log. What is no user name may be a password in the wrong place. */
function named (frame: ConnectFrame): { user?: string, clientId: string } {
  return { ...(frame.username !== undefined && isId(frame.username) ? { user: frame.username } : {}), clientId: frame.clientId }
}

function refuse (log: Logger, client: ConnectingClient, frame: ConnectFrame, refusal: Refusal): void {
  if (client.isClosed) return
  const [returnCode, reasonCode] = connackCodes[refusal.code] ?? [3, 0x80]
  log.info({ code: refusal.code, reason: refusal.message, ...named(frame), address: client.transport.address }, 'connection refused')
  client.output.write(encodeConnackRefusal(frame.protocolVersion, frame.protocolVersion === 5 ? reasonCode : returnCode))
  // It is the will of a CONNECT that is accepted [MQTT-3.1.2-8].
  client.dropWill()
  client.close()
}

/** The keep alive that an MQTT 5 client is told instead of its own (MQTT 5.0, section 3.2.2.3.14); undefined = its own. */
function serverKeepAlive (frame: ConnectFrame, maxSeconds: number): number | undefined {
  if (frame.protocolVersion !== 5) return undefined
  return frame.keepAliveSeconds === 0 || frame.keepAliveSeconds > maxSeconds ? maxSeconds : undefined
}
