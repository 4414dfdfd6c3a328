import type { Logger } from 'pino'
import { Refusal } from '../../errors.ts'
import type { Engine, SessionResume, SessionStart } from '../../link/port.ts'
import { encodeConnackRefusal, type ConnectFrame } from '../../mqtt/index.ts'
import type { PerSecond } from '../../per-second.ts'
import { isShared, type Topics } from '../../topics.ts'
import type { Pump } from '../delivery/pump.ts'
import { Session } from '../delivery/session.ts'
import type { Few } from '../../few.ts'
import type { GatewayLimits } from '../limits.ts'
import type { Locks } from '../locks.ts'
import type { ListedConnection, Sessions } from '../sessions.ts'
import type { Admission } from './admission.ts'
import type { AuthHandler, ProvingClient } from './auth.ts'
import { Authentication } from './authentication.ts'
import type { CompactForms } from './compact-forms.ts'
import { encodeConnack, expiryOf, serverKeepAlive } from './connack.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import { withRoom, type Elsewhere } from './elsewhere.ts'
import { Evidence } from './evidence.ts'
import { Contested, logFailure, valueOf } from './failure.ts'
import { takeSeats, type OpenShares } from './memberships.ts'
import { MqttSink, type SinkPeer } from './mqtt-sink.ts'
import type { OrdinarySide, OrdinarySideClient } from './ordinary-side.ts'
import { maxWindow } from './packet-ids.ts'
import { named, refuse } from './refused.ts'
import { GivenAliases } from './topic-aliases.ts'

/** Return code of CONNACK (3.1.1, table 3.1). */
const serverUnavailable = 3

let assigned = 0
const assignedPrefix = `auto-${Date.now().toString(36)}${Math.floor(Math.random() * 46656).toString(36)}-`

/** A connection that says who it is. What is found out about it is set here, once. */
export interface ConnectingClient extends ListedConnection, SinkPeer, OrdinarySideClient, ProvingClient {
  user: string
  clientId: string
  session: Session | undefined
  sink: MqttSink | undefined
  evidence: Evidence | undefined
  will: ConnectFrame['will'] | undefined
  authentication: Authentication | undefined
  maximumPacketBytes: number
  receiveMaximum: number
  sendMaximum: number
  aliases: GivenAliases | undefined
  problemInformation: boolean
  keepAliveMs: number
  readonly phase: 'new' | 'connecting' | 'open' | 'closed'
  readonly transport: { readonly address: string, settle (known: boolean): void }
  /** From now on its packets are served. */
  opened (): void
  close (how?: { reason?: number, why?: string }): void
}

export interface ConnectContext {
  /** Counts refusals by their codes; `elsewhere`: sent to another server, `method`: an unknown authentication method. */
  readonly refused: { add (code: string): void }
  readonly engine: Pick<Engine, 'openSession'>
  readonly admission: Pick<Admission, 'admit'>
  readonly auth: Pick<AuthHandler, 'offers'>
  /** Sessions of which no connection is read: so much of them waits for their sender's rate. */
  readonly full: ReadonlySet<string>
  readonly pump: Pump
  readonly forms: CompactForms
  readonly sessions: Pick<Sessions, 'connected' | 'enter' | 'countOf' | 'add' | 'leave'>
  readonly shares: OpenShares
  readonly locks: Pick<Locks, 'take' | 'pause'>
  /** Sessions that are being opened. */
  readonly opening: Few
  /** Of sessions, by their ids. */
  readonly takeovers: PerSecond
  /** The same of those that were at another server. */
  readonly fetched: PerSecond
  readonly topics: Topics
  readonly ordinarySide: Pick<OrdinarySide, 'attach' | 'forget' | 'knows' | 'shares'>
  readonly limits: Pick<GatewayLimits, 'connectionsPerUser' | 'pendingPublishes' | 'pendingQos2' | 'packetBytes' | 'inflight' | 'topicAliases' | 'keepAliveMaxSeconds' | 'sessionExpirySeconds' | 'maxSessionExpirySeconds'>
  /** Another server. */
  readonly elsewhere: Elsewhere | undefined
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
      if (err instanceof Refusal) return refuse(this.#context, client, frame, err)
      logFailure(log, err as Error, { ...named(client, frame), address: client.transport.address }, 'a CONNECT could not be answered')
      refuse(this.#context, client, frame, new Refusal('unavailable'))
    }
  }

  /** Throws `Refusal`. */
  async #open (client: ConnectingClient, frame: ConnectFrame): Promise<void> {
    const { admission, limits, locks, sessions } = this.#context
    if (this.#turnsAway(client, frame)) return
    if (isShared(frame.clientId)) throw new Refusal('too_large', 'client ids that begin with $share/ are the names of shared subscriptions')
    // Those who fight for a session are turned away before their passwords are hashed; only who was let in is counted.
    this.#checkFight(`${frame.username ?? ''}/${frame.clientId}`)
    const user = await admission.admit(client, frame)
    if (user === undefined || client.isClosed) return
    // In one turn with the entry, from which on a kick closes the connection.
    if (client.kicked !== undefined) throw new Refusal(client.kicked)
    sessions.enter(client, user)
    // From here on a ban takes it away.
    client.will = frame.will
    const clientId = frame.clientId !== '' ? frame.clientId : assignedPrefix + (++assigned).toString(36)
    const id = `${user}/${clientId}`
    client.clientId = clientId
    const expirySeconds = expiryOf(frame, limits)
    if (this.#lacksRoom(client, frame, expirySeconds)) return
    const unlock = await locks.take(id)
    try {
      await this.#takeOver(id)
      if (client.isClosed) return
      if (sessions.countOf(user) > limits.connectionsPerUser && user !== '') {
        throw new Refusal('rate_limited', 'too many connections of this user')
      }
      const resumed = await this.#resume(client, { session: id, user, clientId, cleanStart: frame.clean, expirySeconds })
      if (resumed === undefined) return
      const session = this.#begin(client, frame, resumed, { id, user, expirySeconds })
      await this.#serve(client, frame, session, resumed)
    } finally {
      unlock()
    }
  }

  /** Throws `Contested`. */
  #checkFight (id: string): void {
    const { fetched, sessions, takeovers } = this.#context
    if ((sessions.connected.has(id) && !takeovers.has(id)) || !fetched.has(id)) throw tooManyTakeovers()
  }

  /** Whoever it is; the connection is over when this is true. */
  #turnsAway (client: ConnectingClient, frame: ConnectFrame): boolean {
    return this.#sendsAway(client, frame) || !this.#takesMethod(client, frame)
  }

  /** MQTT 5.0, section 4.11 */
  #sendsAway (client: ConnectingClient, frame: ConnectFrame): boolean {
    const { elsewhere, log, refused } = this.#context
    if (elsewhere?.redirect !== true) return false
    refused.add('elsewhere')
    const { protocolVersion, properties } = frame
    const code = protocolVersion === 5 ? elsewhere.reason : serverUnavailable
    client.output.write(withRoom(properties?.maximumPacketBytes, elsewhere.address, place => encodeConnackRefusal(protocolVersion, code, place)))
    log.info({ ...named(client, frame), address: client.transport.address, reason: 'sent to another server' }, 'connection refused')
    client.close()
    return true
  }

  /** [MQTT-4.12.0-1] */
  #takesMethod (client: ConnectingClient, frame: ConnectFrame): boolean {
    const [{ auth, log, refused }, method] = [this.#context, frame.properties?.authenticationMethod]
    if (method === undefined) return true
    if (auth.offers(method)) {
      client.authentication = new Authentication(method)
      return true
    }
    refused.add('method')
    // Not the method itself: it is whatever the client has sent.
    log.info({ reason: 'the authentication method is not offered', ...named(client, frame), address: client.transport.address }, 'connection refused')
    client.output.write(encodeConnackRefusal(5, 0x8c))
    client.close()
    return false
  }

  /** [MQTT-3.1.4-2]: the same user's earlier connection ends first. */
  async #takeOver (id: string): Promise<void> {
    const { fetched, sessions, takeovers } = this.#context
    if (!fetched.has(id)) throw tooManyTakeovers()
    const old = sessions.connected.get(id)
    if (old === undefined) return
    if (!takeovers.take(id)) throw tooManyTakeovers()
    old.connection.close({ reason: disconnectReasons.takenOver })
    await old.ended
  }

  /** Thousands may come back in one moment: those who go on meanwhile wait for a few of them, not for all. Undefined when the client has gone before its turn. */
  async #resume (client: ConnectingClient, start: SessionStart): Promise<SessionResume | undefined> {
    const { engine, fetched, opening } = this.#context
    await new Promise<void>(resolve => { opening.enter(resolve) })
    try {
      if (client.isClosed) return undefined
      const resume = valueOf(await engine.openSession(start))
      if (resume.takenOver === true) fetched.take(start.session)
      return resume
    } finally {
      opening.leave()
    }
  }

  #begin (client: ConnectingClient, { protocolVersion, properties }: ConnectFrame, resumed: SessionResume, of: { id: string, user: string, expirySeconds: number }): Session {
    const { forms, limits, pump, topics } = this.#context
    const receiveMaximum = this.#receiveMaximum
    if (protocolVersion === 5) {
      client.receiveMaximum = receiveMaximum
      client.publishes.spare = 1
    }
    client.maximumPacketBytes = properties?.maximumPacketBytes ?? client.maximumPacketBytes
    client.problemInformation = properties?.requestProblemInformation !== false
    client.sendMaximum = properties?.receiveMaximum ?? client.sendMaximum
    const window = Math.min(limits.inflight, client.sendMaximum, maxWindow)
    if (resumed.resends !== undefined) {
      client.publishes.resends = resumed.resends
      // An MQTT 3 client may have as many unanswered as there are packet ids.
      client.evidence = new Evidence(protocolVersion === 5 ? receiveMaximum : 65_536)
    }
    const aliases = Math.min(limits.topicAliases, properties?.topicAliasMaximum ?? 0)
    if (aliases > 0) client.aliases = new GivenAliases(aliases)
    client.sink = new MqttSink(client, topics, { window, resumed: resumed.inflight, evidence: client.evidence, forms })
    client.session = new Session(pump, client.sink, { ...of, resumed: resumed.present, own: resumed.own, window })
    client.sink.session = client.session
    return client.session
  }

  get #receiveMaximum (): number {
    const { pendingPublishes, pendingQos2 } = this.#context.limits
    return Math.min(pendingPublishes, pendingQos2, 65535)
  }

  async #serve (client: ConnectingClient, frame: ConnectFrame, session: Session, { present, inflight, subscriptions, from }: SessionResume): Promise<void> {
    const { full, log, ordinarySide, pump, sessions, shares, topics } = this.#context
    const { id, user } = session
    const said = sessions.add(session, client, present, from)
    // What its last connection sent waits for its sender's rate: each connection would bring more.
    if (full.has(id)) client.pace(true)
    if (client.isClosed) return sessions.leave(client, false)
    // One session, two keepers: what ordinary topics keep for it goes when the session itself has gone.
    if (!present) await ordinarySide.forget(id)
    if (said !== undefined) await said
    if (client.isClosed) return
    for (const { filter, qos, identifier, noLocal } of subscriptions) {
      const means = isShared(filter) ? { kind: 'shared' as const } : topics.filter(filter, user)
      if (means !== undefined) session.interest.set(filter, means, qos, identifier, noLocal)
    }
    this.#accept(client, frame, session, present)
    log.debug({ user, clientId: client.clientId, version: frame.protocolVersion, present, address: client.transport.address }, 'connected')
    session.sumInterest()
    const rest = await session.resend(inflight)
    if (session.closed) return
    client.sink?.resent(rest)
    pump.add(session)
    session.applyInterest()
    // Behind what is sent again: both share what may be under way.
    if (ordinarySide.knows(id)) await ordinarySide.attach(client)
    const shared = subscriptions.map(({ filter }) => filter).filter(isShared)
    if (shared.length > 0) await takeSeats(client, shares, shared, log)
  }

  #accept (client: ConnectingClient, frame: ConnectFrame, { expirySeconds }: Session, present: boolean): void {
    client.keepAliveMs = (serverKeepAlive(frame, this.#context.limits.keepAliveMaxSeconds) ?? frame.keepAliveSeconds) * 1000
    client.opened()
    client.output.write(this.#connack(client, frame, expirySeconds, present))
  }

  /** [MQTT-3.1.2-24] of MQTT 5: who has no room for the CONNACK cannot be served. The connection is over when this is true. */
  #lacksRoom (client: ConnectingClient, frame: ConnectFrame, expirySeconds: number): boolean {
    if (this.#connack(client, frame, expirySeconds, false).length <= (frame.properties?.maximumPacketBytes ?? Infinity)) return false
    this.#context.log.info({ ...named(client, frame), address: client.transport.address, reason: 'the CONNACK is larger than its Maximum Packet Size' }, 'connection refused')
    client.dropWill()
    client.close()
    return true
  }

  #connack (client: ConnectingClient, frame: ConnectFrame, expirySeconds: number, present: boolean): Buffer {
    const { limits, ordinarySide, topics } = this.#context
    const { user } = client
    const asksForResponses = user !== '' && frame.properties?.requestResponseInformation === true
    const keepAliveSeconds = serverKeepAlive(frame, limits.keepAliveMaxSeconds)
    return encodeConnack(frame.protocolVersion, present, {
      receiveMaximum: this.#receiveMaximum,
      maximumPacketBytes: limits.packetBytes,
      topicAliases: limits.topicAliases,
      shares: ordinarySide.shares || user !== '',
      ...(asksForResponses ? { responseInformation: topics.answers(user) } : {}),
      ...(client.authentication !== undefined ? { authentication: client.authentication } : {}),
      ...(frame.clientId === '' ? { assignedClientId: client.clientId } : {}),
      ...(keepAliveSeconds !== undefined ? { serverKeepAliveSeconds: keepAliveSeconds } : {}),
      ...(expirySeconds !== (frame.properties?.sessionExpirySeconds ?? 0) ? { sessionExpirySeconds: expirySeconds } : {})
    })
  }
}

function tooManyTakeovers (): Refusal { return new Contested('the session is taken over too often') }
