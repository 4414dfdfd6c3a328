import type { Engine } from '../../link/port.ts'
import { encodeSuback, type SubscribeFrame, type Subscription } from '../../mqtt/index.ts'
import type { ChatFilter, Topics } from '../../topics.ts'
import type { Session } from '../delivery/session.ts'
import type { GatewayLimits } from '../limits.ts'
import { unitsOfFilters, type Allowance } from './allowance.ts'
import type { Evidence } from './evidence.ts'
import type { MqttSink } from './mqtt-sink.ts'
import type { OrdinarySide, OrdinarySideClient } from './ordinary-side.ts'
import { saveSubscriptions } from './stored-subscriptions.ts'

/** SUBACK codes: 0x80 is all that 3.1.1 has; the others are MQTT 5.0, section 3.9.3. */
const refusal = { failure: 0x80, notAuthorized: 0x87, quota: 0x97, sharedUnavailable: 0x9e }

export interface SubscribingClient extends OrdinarySideClient {
  readonly user: string
  readonly sink: MqttSink | undefined
  readonly evidence: Evidence | undefined
  readonly allowance: Allowance
}

export interface SubscribeContext {
  readonly engine: Pick<Engine, 'isMember' | 'saveSubscriptions'>
  /** The retained description of the server: version, limits, features. */
  readonly serverInfo: Record<string, unknown>
  readonly topics: Topics
  readonly limits: Pick<GatewayLimits, 'subscriptionsPerSession'>
  readonly ordinarySide: Pick<OrdinarySide, 'attach' | 'maySubscribe'>
}

/** What the filters of one SUBSCRIBE come to. */
interface Judged {
  /** Of each filter, those of ordinary topics when they are in force. */
  granted: number[]
  ordinary: Array<{ at: number, subscription: Subscription }>
  /** The session's interest has changed. */
  changed: boolean
  tellServer: boolean
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
    client.evidence?.reuse(frame.packetId)
    client.during(this.#subscribe(client, frame))
  }

  async #subscribe (client: SubscribingClient, frame: SubscribeFrame): Promise<void> {
    const { session, version } = client
    if (session === undefined) return
    const { granted, ordinary, changed, tellServer } = await this.#judgeAll(client, session, frame.subscriptions)
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
    const { serverInfo, topics } = this.#context
    if (tellServer) client.sink?.tell(topics.server(), Buffer.from(JSON.stringify(serverInfo)), true)
  }

  async #judgeAll (client: SubscribingClient, session: Session, subscriptions: readonly Subscription[]): Promise<Judged> {
    const judged: Judged = { granted: new Array<number>(subscriptions.length), ordinary: [], changed: false, tellServer: false }
    for (const [at, subscription] of subscriptions.entries()) {
      const code = await this.#judge(client, session, subscription, judged.ordinary.length)
      if (code === 'ordinary') judged.ordinary.push({ at, subscription })
      else if (typeof code === 'number') judged.granted[at] = code
      else {
        const qos = subscription.qos > 0 ? 1 : 0
        // [MQTT-3.3.1-9] to [MQTT-3.3.1-11] of MQTT 5.
        const { rh } = subscription
        judged.tellServer ||= code.kind === 'server' && (rh === 0 || (rh === 1 && !session.interest.has(subscription.filter)))
        // Most clients subscribe again to what their session has: that is stored already.
        judged.changed ||= session.interest.granted(subscription.filter) !== qos
        session.interest.set(subscription.filter, code, qos)
        judged.granted[at] = qos
      }
    }
    return judged
  }

  async #judge (client: SubscribingClient, session: Session, { filter }: Subscription, more: number): Promise<number | 'ordinary' | ChatFilter> {
    const { engine, ordinarySide, topics } = this.#context
    const { user, version } = client
    const refused = version === 5 ? refusal.notAuthorized : refusal.failure
    if (filter.startsWith('$share/')) return version === 5 ? refusal.sharedUnavailable : refusal.failure
    if (!this.#fits(client, session, filter, more)) return version === 5 ? refusal.quota : refusal.failure
    if (!topics.isChat(filter)) return ordinarySide.maySubscribe(filter) ? 'ordinary' : refused
    const means = user === '' ? undefined : topics.filter(filter, user)
    if (means === undefined) return refused
    if (means.kind === 'group' && !(await engine.isMember(user, means.gid))) return refused
    return means
  }

  /** The session has room for the filter beside `more` others, or has it already. */
  #fits ({ ordinaryFilters }: SubscribingClient, { interest }: Session, filter: string, more: number): boolean {
    if (interest.has(filter) || ordinaryFilters?.has(filter) === true) return true
    return interest.size + (ordinaryFilters?.size ?? 0) + more < this.#context.limits.subscriptionsPerSession
  }
}
