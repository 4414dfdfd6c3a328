/** One client of a history: what it remembers between its connections, and how it answers what comes. */
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { within } from '../mailbox.ts'
import type { Connecting, Outgoing, Wanted } from './actions.ts'
import { arrived } from './arrivals.ts'
import { Publisher } from './publisher.ts'
import { Session, type Connection, type Copy, type Snapshot, type Subscription } from './model.ts'
import { Wire } from './wire.ts'
import type { World } from './world.ts'

const keptSeconds = 1000

/** What it has not acknowledged: a message, or a PUBREL. */
type Held = { message: IPublishPacket, copy: Copy | undefined } | { release: number }

export class Device {
  readonly user: string
  readonly clientId: string
  session: Session | undefined
  readonly #world: World
  readonly #port: number
  readonly #publisher: Publisher
  #wire: Wire | undefined
  #hold = false
  #held: Held[] = []
  /** Packet ids of QoS 2 messages whose PUBREL has not come, and the message. */
  readonly #received = new Map<number, string>()

  constructor (world: World, port: number, user: string, clientId: string) {
    this.#world = world
    this.#port = port
    this.user = user
    this.clientId = clientId
    this.#publisher = new Publisher(world, `${user}/${clientId}`)
  }

  get connected (): boolean { return this.#wire !== undefined }

  async connect ({ clean, keep, receiveMaximum, aliasMaximum, maximumPacketSize, hold }: Omit<Connecting, 'kind' | 'client'>): Promise<void> {
    const world = this.#world
    const from = world.tick()
    const old = this.#wire
    // Whatever comes from here on on the old connection may be its end.
    const last = this.session?.connection
    const goesOn = !clean && this.session?.alive === true && this.session.kept
    if (!goesOn) this.#sessionOver(from)
    if (last !== undefined) last.to = from
    old?.expectEnd()
    this.#publisher.gone()
    this.#wire = undefined
    this.#held = []
    this.#hold = hold
    const session = goesOn ? this.session as Session : new Session(`${this.user}/${this.clientId}`, this.user, keep, from)
    const connection: Connection = { from, to: Infinity, maximumPacketSize, certain: 0 }
    session.connections.push(connection)
    session.kept = keep
    const wire = await Wire.open(this.#port, {
      receiveMaximum,
      aliasMaximum,
      maximumPacketSize,
      fault: text => { world.fault(`${session.id}: ${text}`) },
      onPublish: packet => { this.#arrived(session, connection, packet) },
      onRelease: packetId => { this.#take({ release: packetId }) },
      onAnswer: packet => { if (connection.to === Infinity) this.#publisher.answered(packet) },
      onLost: reason => { world.fault(`${session.id}: the server ended the connection: ${reason}`) }
    })
    this.#wire = wire
    if (this.session !== session) {
      this.session = session
      world.sessions.push(session)
      this.#received.clear()
      this.#publisher.forget()
    }
    const connack = await wire.hello({ clientId: this.clientId, clean, keepalive: 600, username: this.user, properties: { sessionExpiryInterval: keep ? keptSeconds : 0 } })
    world.note(`${session.id} connected${goesOn ? ', session present' : ''}`)
    if (connack.reasonCode !== 0) world.fault(`${session.id}: CONNACK 0x${(connack.reasonCode ?? -1).toString(16)}`)
    else if (connack.sessionPresent !== goesOn) world.fault(`${session.id}: session present is ${connack.sessionPresent} [MQTT-3.2.2-3]`)
    this.#publisher.connected(wire)
    if (old !== undefined) await within(old.closed, 10_000, `${session.id}: the end of the connection that was taken over`)
  }

  #sessionOver (at: number): void {
    if (this.session?.alive === true) this.session.over = at
  }

  async cut (): Promise<void> { await this.#end(async wire => { await wire.cut() }, this.session?.kept === true, false) }

  async disconnect (end: boolean): Promise<void> {
    const kept = this.session?.kept === true
    // An interval of 0 must not become another one [MQTT-3.1.2.11.2]; ending a session that ends anyway says nothing.
    await this.#end(async wire => {
      await wire.leave({ cmd: 'disconnect', reasonCode: 0, ...end && kept && { properties: { sessionExpiryInterval: 0 } } })
    }, kept && !end, true)
  }

  async #end (how: (wire: Wire) => Promise<void>, goesOn: boolean, goodbye: boolean): Promise<void> {
    const [wire, connection] = [this.#wire, this.session?.connection]
    if (wire === undefined || connection === undefined) return
    connection.to = this.#world.tick()
    if (!goesOn) this.#sessionOver(connection.to)
    this.#world.note(`${this.session?.id} leaves`)
    this.#wire = undefined
    this.#publisher.gone(goodbye)
    await how(wire)
  }

  #arrived (session: Session, connection: Connection, packet: IPublishPacket): void {
    if (this.session !== session || connection.to !== Infinity) return
    const packetId = packet.messageId ?? 0
    const copy = arrived(this.#world, session, connection, packet)
    if (packet.qos === 0) return
    if (packet.qos === 2) {
      const text = packet.payload.toString()
      const known = this.#received.get(packetId)
      // With or without DUP: clients take it for the one that they have [MQTT-4.3.3-10]. Also of what has become too large meanwhile PUBREL comes first.
      if (known !== undefined && known !== text) this.#world.fault(`${session.id}: packet id ${packetId} is another message before its PUBREL [MQTT-2.2.1-4]`)
      this.#received.set(packetId, text)
    }
    this.#take({ message: packet, copy })
  }

  #take (held: Held): void {
    if (this.#hold) this.#held.push(held)
    else this.#answer(held)
  }

  #answer (held: Held): void {
    const [wire, connection] = [this.#wire, this.session?.connection]
    if (wire === undefined || connection === undefined) return
    if ('release' in held) {
      this.#received.delete(held.release)
      return wire.acknowledge('pubcomp', held.release)
    }
    const { message, copy } = held
    if (copy !== undefined) [copy.acknowledged, copy.answeredOn] = [this.#world.tick(), connection]
    wire.acknowledge(message.qos === 1 ? 'puback' : 'pubrec', message.messageId as number)
  }

  hold (hold: boolean): void {
    this.#hold = hold
    if (!hold) for (const held of this.#held.splice(0)) this.#answer(held)
  }

  acknowledge (at: number): void {
    const count = this.#held.length
    if (count === 0) return
    const first = at === -1 ? 0 : at % count
    const chosen = at === -1 ? this.#held.splice(0).reverse() : this.#held.splice(first, 1)
    for (const [i, held] of chosen.entries()) {
      if ('copy' in held && held.copy !== undefined && (first > 0 || i < chosen.length - 1)) held.copy.early = true
      this.#answer(held)
    }
  }

  /** Sends something and waits for its answer; what went before is then with the server. */
  async #ask (packet: Packet, answer: (packet: Packet) => boolean, what: string): Promise<Packet | undefined> {
    const [wire, connection] = [this.#wire, this.session?.connection]
    if (wire === undefined || connection === undefined) return undefined
    const answered = wire.answer(answer, `${this.session?.id}: ${what}`)
    const at = this.#world.tick()
    wire.send(packet)
    const got = await answered
    connection.certain = at
    return got
  }

  async settle (): Promise<void> {
    const sent = this.#publisher.unanswered()
    if (await this.#ask({ cmd: 'pingreq' }, one => one.cmd === 'pingresp', 'PINGRESP') === undefined) return
    for (const message of sent) [message.taken, message.end] = [true, this.#world.tick()]
  }

  async subscribe (wanted: Wanted[], identifier: number): Promise<void> {
    const { session } = this
    if (session === undefined || this.#wire === undefined) return
    const world = this.#world
    const places = wanted.map(one => ({ ...one, filter: world.place(one.filter) }))
    const messageId = this.#publisher.nextId()
    const asked = world.tick()
    // One after the other, as if each had its own SUBSCRIBE [MQTT-3.8.4-5]: what is published meanwhile may find the first of them alone.
    const snapshots: Snapshot[] = []
    const subscriptions = new Map(session.current.subscriptions)
    for (const one of places) {
      const subscription: Subscription = { ...one, identifier, qos: one.filter.startsWith('im/') ? Math.min(1, one.qos) as 0 | 1 : one.qos }
      if (!one.filter.startsWith('$share') && (one.rh === 0 || (one.rh === 1 && !subscriptions.has(one.filter)))) session.triggers.push({ at: asked, subscription })
      subscriptions.set(one.filter, subscription)
      snapshots.push({ asked, answered: Infinity, subscriptions: new Map(subscriptions) })
    }
    session.snapshots.push(...snapshots)
    world.note(`${session.id} subscribes to ${places.map(({ filter, qos, nl, rap }) => `${filter} qos ${qos}${nl ? ' nl' : ''}${rap ? ' rap' : ''}`).join(', ')} as ${identifier}`)
    const suback = await this.#ask({
      cmd: 'subscribe',
      messageId,
      subscriptions: places.map(({ filter: topic, ...one }) => ({ ...one, topic })),
      ...identifier > 0 && { properties: { subscriptionIdentifier: identifier } }
    }, one => one.cmd === 'suback' && one.messageId === messageId, 'SUBACK')
    const answered = world.tick()
    for (const snapshot of snapshots) snapshot.answered = answered
    const granted = places.map(({ filter }) => subscriptions.get(filter)?.qos)
    if (suback?.cmd === 'suback' && suback.granted.some((code, i) => code !== granted[i])) world.fault(`${session.id}: SUBACK ${suback.granted.join()}, not ${granted.join()}`)
  }

  async unsubscribe (filters: string[]): Promise<void> {
    const { session } = this
    if (session === undefined || this.#wire === undefined) return
    const messageId = this.#publisher.nextId()
    const unsubscriptions = filters.map(filter => this.#world.place(filter))
    const snapshot = { asked: this.#world.tick(), answered: Infinity, subscriptions: new Map(session.current.subscriptions) }
    for (const filter of unsubscriptions) snapshot.subscriptions.delete(filter)
    session.snapshots.push(snapshot)
    this.#world.note(`${session.id} unsubscribes from ${unsubscriptions.join()}`)
    await this.#ask({ cmd: 'unsubscribe', messageId, unsubscriptions }, one => one.cmd === 'unsuback' && one.messageId === messageId, 'UNSUBACK')
    snapshot.answered = this.#world.tick()
  }

  async publish (messages: Outgoing[], until: 'done' | 'pubrec' | 'sent', group: { id: string, members: string[] }): Promise<void> {
    await this.#publisher.publish(messages, until, group)
  }

  async finish (): Promise<void> { await this.#publisher.finish() }

  /** Leaves nothing behind on the server. */
  async discard (): Promise<void> {
    if (this.#wire !== undefined) await this.disconnect(true)
  }
}
