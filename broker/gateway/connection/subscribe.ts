import type { Engine } from '../../link/port.ts'
import { encodeSuback, type SubscribeFrame, type Subscription } from '../../mqtt/index.ts'
import { Refusal } from '../../errors.ts'
import { isShareable, isShared, isSys, sharedFilter, type ChatFilter, type Topics } from '../../topics.ts'
import type { Session } from '../delivery/session.ts'
import type { GatewayLimits } from '../limits.ts'
import type { SysTopics } from '../sys-topics.ts'
import { unitsOfFilters, type Allowance } from './allowance.ts'
import { judgeAnswer } from './answer-room.ts'
import type { Evidence } from './evidence.ts'
import { Memberships, type MemberClient, type OpenShares } from './memberships.ts'
import type { MqttSink } from './mqtt-sink.ts'
import type { OrdinarySide, OrdinarySideClient } from './ordinary-side.ts'
import type { ServerDocument } from './server-document.ts'
import { saveSubscriptions } from './stored-subscriptions.ts'

/** SUBACK codes: 0x80 is all that 3.1.1 has; the others are MQTT 5.0, section 3.9.3. */
const refusal = { failure: 0x80, notAuthorized: 0x87, quota: 0x97, sharedUnavailable: 0x9e }

export interface SubscribingClient extends Omit<OrdinarySideClient, 'close'>, MemberClient {
  readonly user: string
  readonly sink: MqttSink | undefined
  readonly evidence: Evidence | undefined
  readonly allowance: Allowance
}

export interface SubscribeContext {
  readonly engine: Pick<Engine, 'isMember' | 'saveSubscriptions'>
  readonly serverDocument: Pick<ServerDocument, 'tell'>
  readonly topics: Topics
  readonly limits: Pick<GatewayLimits, 'subscriptionsPerSession'>
  readonly ordinarySide: Pick<OrdinarySide, 'attach' | 'maySubscribe' | 'shares'>
  readonly shares: OpenShares
  readonly sys: Pick<SysTopics, 'mayRead' | 'tellAll'>
}

/** What the filters of one SUBSCRIBE come to. */
interface Judged {
  /** Of each filter, those of ordinary topics when they are in force. */
  granted: number[]
  ordinary: Array<{ at: number, subscription: Subscription }>
  /** The session's interest has changed. */
  changed: boolean
  tellServer: boolean
  /** Filters of `$SYS` whose values are to be told. */
  tellSys: string[]
}

/**
 * SUBSCRIBE. Filters of the chat tree become the session's interest, ordinary ones go their way; what is refused (default deny) is
 * stored nowhere, also next to filters that are granted.
 */
export class SubscribeHandler {
  readonly #context: SubscribeContext

  constructor (context: SubscribeContext) { this.#context = context }

  handle (client: SubscribingClient, frame: SubscribeFrame): void {
    client.allowance.spend(unitsOfFilters(frame.subscriptions.length))
    judgeAnswer(client, frame.subscriptions.length)
    client.evidence?.reuse(frame.packetId)
    client.during(this.#subscribe(client, frame))
  }

  async #subscribe (client: SubscribingClient, frame: SubscribeFrame): Promise<void> {
    const { session, version } = client
    if (session === undefined) return
    const { granted, ordinary, changed, tellServer, tellSys } = await this.#judgeAll(client, session, frame)
    // Judging may take time: of a connection that was taken over meanwhile nothing may reach what the next one has.
    if (session.closed) return
    if (changed) await saveSubscriptions(this.#context.engine, client)
    if (session.closed) return
    if (ordinary.length > 0) {
      const attached = await this.#context.ordinarySide.attach(client)
      await attached.subscribe(ordinary.map(one => one.subscription), frame.subscriptionIdentifier, () => {
        client.ordinaryFilters ??= new Set()
        for (const { at, subscription } of ordinary) {
          granted[at] = subscription.qos
          client.ordinaryFilters.add(subscription.filter)
        }
        client.output.write(encodeSuback(version, frame.packetId, granted))
      })
    } else {
      client.output.write(encodeSuback(version, frame.packetId, granted))
    }
    if (session.closed) return
    if (changed) session.applyInterest()
    if (session.dealt instanceof Memberships) session.dealt.start()
    const { serverDocument, sys } = this.#context
    for (const filter of tellSys) sys.tellAll(client.sink, filter, frame.subscriptionIdentifier)
    if (tellServer) serverDocument.tell(client.sink, frame.subscriptionIdentifier)
  }

  async #judgeAll (client: SubscribingClient, session: Session, { subscriptions, subscriptionIdentifier: identifier }: SubscribeFrame): Promise<Judged> {
    const judged: Judged = { granted: new Array<number>(subscriptions.length), ordinary: [], changed: false, tellServer: false, tellSys: [] }
    for (const [at, subscription] of subscriptions.entries()) {
      const code = await this.#judge(client, session, subscription, judged.ordinary.length)
      if (code === 'ordinary') judged.ordinary.push({ at, subscription })
      else if (typeof code === 'number') judged.granted[at] = code
      else {
        const qos = subscription.qos > 0 && code.kind !== 'sys' ? 1 : 0
        // [MQTT-3.3.1-9] to [MQTT-3.3.1-11] of MQTT 5.
        const { noLocal, rh } = subscription
        const tell = rh === 0 || (rh === 1 && !session.interest.has(subscription.filter))
        judged.tellServer ||= code.kind === 'server' && tell
        if (code.kind === 'sys' && tell) judged.tellSys.push(subscription.filter)
        // Most clients subscribe again to what their session has: that is stored already.
        const { interest } = session
        judged.changed ||= interest.granted(subscription.filter) !== qos || interest.identifier(subscription.filter) !== identifier || interest.isNoLocal(subscription.filter) !== noLocal
        interest.set(subscription.filter, code, qos, identifier, noLocal)
        judged.granted[at] = qos
      }
    }
    return judged
  }

  async #judge (client: SubscribingClient, session: Session, { filter }: Subscription, more: number): Promise<number | 'ordinary' | ChatFilter> {
    const { engine, ordinarySide, sys, topics } = this.#context
    const { user, version } = client
    const refused = version === 5 ? refusal.notAuthorized : refusal.failure
    if (!this.#fits(client, session, filter, more)) return version === 5 ? refusal.quota : refusal.failure
    if (isShared(filter)) return await this.#judgeShared(client, session, filter)
    if (isSys(filter)) return sys.mayRead(user) ? { kind: 'sys' } : refused
    if (!topics.isChat(filter)) return ordinarySide.maySubscribe(client, filter) ? 'ordinary' : refused
    const means = user === '' ? undefined : topics.filter(filter, user)
    if (means === undefined) return refused
    if (means.kind === 'group' && !(await engine.isMember(user, means.gid))) return refused
    return means
  }

  async #judgeShared (client: SubscribingClient, session: Session, filter: string): Promise<number | 'ordinary' | ChatFilter> {
    const { ordinarySide, topics } = this.#context
    if (client.version < 5) return refusal.failure
    const shared = sharedFilter(filter)
    if (topics.isChat(shared)) return await this.#judgeShare(client, session, filter)
    if (!ordinarySide.shares) return refusal.sharedUnavailable
    return ordinarySide.maySubscribe(client, shared) ? 'ordinary' : refusal.notAuthorized
  }

  /** Of chat topics: it is open, and the session has its place in it, when this is granted. */
  async #judgeShare (client: SubscribingClient, session: Session, filter: string): Promise<number | ChatFilter> {
    const { engine, shares, topics } = this.#context
    const { sink, user } = client
    const means = user === '' ? undefined : topics.filter(sharedFilter(filter), user)
    if (means === undefined || sink === undefined) return refusal.notAuthorized
    if (!isShareable(means)) return refusal.sharedUnavailable
    if (means.kind === 'group' && !(await engine.isMember(user, means.gid))) return refusal.notAuthorized
    if (session.closed) return refusal.failure
    try {
      await Memberships.of(client, session, sink, shares).enter(filter)
    } catch (err) {
      if (err instanceof Refusal) return err.code === 'rate_limited' ? refusal.quota : refusal.failure
      throw err
    }
    return { kind: 'shared' }
  }

  /** The session has room for the filter beside `more` others, or has it already. */
  #fits ({ ordinaryFilters }: SubscribingClient, { interest }: Session, filter: string, more: number): boolean {
    if (interest.has(filter) || ordinaryFilters?.has(filter) === true) return true
    return interest.size + (ordinaryFilters?.size ?? 0) + more < this.#context.limits.subscriptionsPerSession
  }
}
