import type { OrdinaryClient } from '../../ordinary/adapter.ts'
import type { Session } from '../delivery/session.ts'
import type { Connection } from './connection.ts'
import { encodeSuback, encodeUnsuback, type SubscribeFrame, type Subscription, type UnsubscribeFrame } from '../../mqtt/index.ts'
import type { Access } from '../gateway.ts'

/** SUBACK codes: 0x80 is all that 3.1.1 has; the others are MQTT 5.0, section 3.9.3. */
const refusal = { failure: 0x80, notAuthorized: 0x87, quota: 0x97, sharedUnavailable: 0x9e }
/** UNSUBACK (MQTT 5.0, section 3.11.3). */
const noSubscription = 0x11

/**
 * SUBSCRIBE and UNSUBSCRIBE. Filters of the chat tree become the session's interest, ordinary ones go to Aedes; what is refused
 * (default deny) is stored nowhere, also next to filters that are granted.
 */
export class Subscriptions {
  readonly #access: Access

  constructor (access: Access) { this.#access = access }

  async subscribe (connection: Connection, frame: SubscribeFrame): Promise<void> {
    const { session, version } = connection
    if (session === undefined) return
    const granted = new Array<number>(frame.subscriptions.length)
    const ordinary: Array<{ at: number, subscription: Subscription }> = []
    let changed = false
    let tellServer = false
    for (const [at, subscription] of frame.subscriptions.entries()) {
      const code = await this.#judge(connection, subscription, ordinary.length)
      if (code === 'ordinary') ordinary.push({ at, subscription })
      else if (typeof code === 'number') granted[at] = code
      else {
        const qos = subscription.qos > 0 ? 1 : 0
        // [MQTT-3.3.1-9] to [MQTT-3.3.1-11] of MQTT 5.
        const { rh } = subscription
        tellServer ||= code.kind === 'server' && (rh === 0 || (rh === 1 && !session.interest.has(subscription.filter)))
        session.interest.set(subscription.filter, code, qos)
        granted[at] = qos
        changed = true
      }
    }
    // Judging may take time: of a connection that was taken over meanwhile nothing may reach what the next one has.
    if (session.closed) return
    if (changed && session.persistent) await this.#save(session)
    if (session.closed) return
    if (ordinary.length > 0) {
      const client = await this.attach(connection)
      await client.subscribe(ordinary.map(one => one.subscription), frame.subscriptionIdentifier, () => {
        for (const { at, subscription } of ordinary) {
          granted[at] = subscription.qos
          connection.inbound.ordinaryFilters.add(subscription.filter)
        }
        connection.output.write(encodeSuback(version, frame.packetId, granted))
      })
    } else {
      connection.output.write(encodeSuback(version, frame.packetId, granted))
    }
    if (changed && !session.closed) {
      session.interest.apply()
      if (tellServer) this.#access.tellServer(session)
    }
  }

  async #judge (connection: Connection, { filter }: Subscription, more: number): Promise<number | 'ordinary' | NonNullable<ReturnType<Access['topics']['filter']>>> {
    const access = this.#access
    const { session, user, version } = connection
    const refused = version === 5 ? refusal.notAuthorized : refusal.failure
    if (session === undefined) return refused
    if (filter.startsWith('$share/')) return version === 5 ? refusal.sharedUnavailable : refusal.failure
    const { ordinaryFilters } = connection.inbound
    const known = session.interest.has(filter) || ordinaryFilters.has(filter)
    if (!known && session.interest.size + ordinaryFilters.size + more >= access.limits.subscriptionsPerSession) {
      return version === 5 ? refusal.quota : refusal.failure
    }
    if (!access.topics.isChat(filter)) {
      return access.ordinary !== undefined && access.openTopics.maySubscribe(filter) ? 'ordinary' : refused
    }
    const means = user === '' ? undefined : access.topics.filter(filter, user)
    if (means === undefined) return refused
    if (means.kind === 'group' && !(await access.engine.isMember(user, means.gid))) return refused
    return means
  }

  async unsubscribe (connection: Connection, frame: UnsubscribeFrame): Promise<void> {
    const { session } = connection
    if (session === undefined) return
    const { ordinaryFilters } = connection.inbound
    const done = new Array<number>(frame.filters.length)
    const ordinary: string[] = []
    let changed = false
    for (const [at, filter] of frame.filters.entries()) {
      const had = session.interest.delete(filter)
      changed ||= had
      // A session that was resumed may hold ordinary filters that this connection has not named.
      if (!had && !this.#access.topics.isChat(filter) && (connection.ordinary !== undefined || ordinaryFilters.has(filter))) ordinary.push(filter)
      done[at] = had || ordinaryFilters.delete(filter) ? 0 : noSubscription
    }
    if (changed) {
      session.interest.apply()
      if (session.persistent) await this.#save(session)
    }
    if (session.closed) return
    if (ordinary.length > 0) await connection.ordinary?.unsubscribe(ordinary)
    connection.output.write(encodeUnsuback(connection.version, frame.packetId, done))
  }

  async #save (session: Session): Promise<void> {
    try {
      await this.#access.engine.saveSubscriptions(session.id, session.interest.list())
    } finally {
      // A session's row that is read and written again may lack what was told meanwhile.
      if (session.evidence !== undefined) session.evidence.told = 0
    }
  }

  /** The connection's client in Aedes, made when it is needed first: a client that only chats never has one. */
  async attach (connection: Connection): Promise<OrdinaryClient> {
    if (connection.ordinary !== undefined) return connection.ordinary
    if (connection.isClosed) throw new Error('the connection closed')
    const { ordinary } = this.#access
    if (ordinary === undefined) throw new Error('no ordinary topics are open')
    const client = await ordinary.attach(connection)
    if (connection.phase === 'closed') {
      if (connection.silenced) client.dropWill()
      client.end(false)
      throw new Error('the connection closed')
    }
    connection.ordinary = client
    for (const filter of client.filters()) connection.inbound.ordinaryFilters.add(filter)
    return client
  }

  /** Calls `use` with the connection's client in Aedes, at once if there is one; the connection is held until then. */
  withOrdinary (connection: Connection, use: (client: OrdinaryClient) => void): void {
    if (connection.ordinary !== undefined) return use(connection.ordinary)
    connection.during(this.attach(connection).then(use))
  }
}
