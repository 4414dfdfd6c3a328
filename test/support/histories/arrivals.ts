/** Judges each message that comes to a client: is it one that may come, as it came, and now? */
import type { IPublishPacket } from 'mqtt-packet'
import { shareOf } from './generator.ts'
import { matches } from './matching.ts'
import { afterwards, bringing, identifiersOf, mostBytes, qosBy, topicFor, type Arrival, type Connection, type Copy, type Message, type Session, type Snapshot, type Subscription } from './model.ts'
import { dealt } from './shared.ts'
import type { World } from './world.ts'

/** Takes in a message; undefined when it is none of the history's. */
export function arrived (world: World, session: Session, connection: Connection, packet: IPublishPacket): Copy | undefined {
  const at = world.tick()
  const read = readOf(world, session, packet)
  if (read === undefined) return undefined
  const [message, seq] = read
  const identifiers = [packet.properties?.subscriptionIdentifier ?? []].flat().sort((a, b) => a - b)
  const share = shareOf(identifiers[0] ?? 0)
  const arrival: Arrival = { message, packet, share, identifiers, seq, at }
  world.note(`${session.id} got m${message.number} ${packet.topic} qos ${packet.qos}${packet.dup ? ' dup' : ''}${packet.retain ? ' retain' : ''} id ${packet.messageId ?? '-'} identifiers ${identifiers.join()}${seq > 0 ? ` seq ${seq}` : ''}`)
  const fault = (text: string): void => { world.fault(`m${message.number} at ${session.id}: ${text}`) }
  const key = `${message.number} ${share ?? ''}`
  const copies = session.copies.get(key) ?? []
  session.copies.set(key, copies)
  let copy = packet.qos === 0 ? undefined : copies.find(one => one.packetId === packet.messageId && one.connection !== connection && (packet.dup || one.answeredOn === undefined))
  const resent = copy !== undefined
  if (copy !== undefined) again(copy, connection, arrival, fault)
  else {
    copy = { topic: packet.topic, packetId: packet.messageId ?? 0, qos: packet.qos, at, connection, acknowledged: Infinity, answeredOn: undefined, early: false }
    // A user's own messages to a group come with his inbox as long as he does not read the group: who reads it later reads them there, too.
    const same = copies.filter(({ topic }) => topic === packet.topic)
    if (same.length >= allowed(session, arrival, same) && !readsAgain(session, message)) fault(`came ${same.length + 1} times, packet ids ${[...same, copy].map(({ packetId }) => packetId).join()}`)
    if (packet.dup && session.connections.length === 1) fault('DUP on the first connection of its session')
    copies.push(copy)
    inOrder(session, arrival, 'ever', fault)
  }
  inOrder(session, arrival, `on ${connection.from}`, fault)
  expiry(arrival, fault)
  if (share === undefined) explained(session, arrival, resent, fault)
  else dealt(world, session, arrival, share, copy, fault)
  world.arrived()
  return copy
}

/** The message, and its number in its conversation. */
function readOf (world: World, session: Session, packet: IPublishPacket): [Message, number] | undefined {
  const { topic } = packet
  let text = packet.payload.toString()
  let seq = 0
  if (!topic.startsWith(`${world.root}/`)) {
    if (topic.startsWith(`im/u/${session.user}/event`) || (topic.startsWith('im/u/') && topic.includes('/rpc/'))) return aside(world, session, packet)
    const envelope = JSON.parse(text) as { body?: unknown, conv?: string, seq?: number, type?: string }
    if (envelope.type === 'system') return aside(world, session, packet)
    if (typeof envelope.body !== 'string' || envelope.conv === undefined) return world.fault(`${session.id} got ${topic} ${text}`) as undefined
    text = envelope.body
    seq = envelope.seq ?? 0
    const name = `${envelope.conv} ${seq}`
    const number = numberOf(text)
    if ((world.numbers.get(name) ?? number) !== number) world.fault(`${name} is m${world.numbers.get(name)} and m${number}`)
    world.numbers.set(name, number)
  }
  const message = world.messages[numberOf(text)]
  if (message === undefined) return world.fault(`${session.id} got what nobody published: ${topic} ${text.slice(0, 50)}`) as undefined
  if (text.length !== message.bytes) world.fault(`m${message.number} has ${text.length} bytes, ${message.bytes} were published`)
  return [message, seq]
}

/** Not of the history, but acknowledged like its messages. */
function aside (world: World, session: Session, { topic, qos, dup, messageId, payload }: IPublishPacket): undefined {
  world.note(`${session.id} got ${topic} qos ${qos}${dup ? ' dup' : ''} id ${messageId ?? '-'} ${payload.toString().slice(0, 60)}`)
}

function numberOf (text: string): number { return Number(/^m(\d+) /.exec(text)?.[1] ?? -1) }

/** A packet that was sent on an earlier connection. */
function again (copy: Copy, connection: Connection, { packet }: Arrival, fault: (text: string) => void): void {
  if (!packet.dup) fault('sent again without DUP [MQTT-3.3.1-1]')
  if (packet.qos !== copy.qos) fault(`sent again at QoS ${packet.qos}, after ${copy.qos}`)
  if (copy.answeredOn !== undefined && copy.acknowledged < copy.answeredOn.certain) fault('sent again after it was acknowledged [MQTT-4.3.2-3], [MQTT-4.3.3-6]')
  Object.assign(copy, { connection, acknowledged: Infinity, answeredOn: undefined })
}

/**
 * Clients acknowledge in order [MQTT-4.6.0-2]. Of one that did not a log knows up to where it has everything: what is behind that may come again. So may what
 * was passed over behind something unacknowledged, as it was too large for its connection.
 */
function readsAgain (session: Session, message: Message): boolean {
  if (message.chat === undefined || session.connections.length === 1) return false
  return isTooLarge(session, message) || [...session.copies.values()].some(copies => copies.some(({ early }) => early))
}

function isTooLarge ({ connections }: Session, message: Message): boolean {
  return connections.some(({ maximumPacketSize }) => maximumPacketSize > 0 && mostBytes(message) > maximumPacketSize)
}

/** So many copies a session may have. */
function allowed (session: Session, { message, packet }: Arrival, copies: readonly Copy[]): number {
  // In chat a repeat is known by its connection, or the one before, unless that ended with DISCONNECT: of a third try nothing is said (ADR 4).
  const published = message.chat !== undefined ? Math.max(1, message.attempts - (message.unread ? 0 : 1)) : message.qos === 1 ? message.attempts : 1
  // What is retained is read when there is room to send it, maybe on a later connection: it may have been published after it was asked for, and have come live.
  const retained = message.retain ? session.triggers.filter(({ subscription }) => matches(subscription.filter, message.topic)).length : 0
  // What was read at QoS 0 is no mark in the log: read anew at QoS 1 it comes.
  const readAnew = message.chat !== undefined && packet.qos === 1 && copies.length > 0 && copies.every(({ qos }) => qos === 0) ? copies.length : 0
  return published + retained + readAnew
}

/** Of one sender, topic and QoS; and of all senders what was published one after the other. In a conversation all. */
function inOrder (session: Session, { message, packet, seq, share }: Arrival, scope: string, fault: (text: string) => void): void {
  const { newest } = session
  const later = (key: string, order: number, limit = order): boolean => {
    const before = newest.get(key) ?? -1
    newest.set(key, Math.max(before, order))
    return limit < before
  }
  if (message.chat !== undefined) {
    // What was too large for an earlier connection was passed over by it.
    if (isTooLarge(session, message) || readsAgain(session, message)) return
    // Whoever subscribes anew may read anew.
    if (later(`${scope} ${message.chat.conversation} ${session.snapshots.length} ${packet.qos} ${packet.topic}`, seq)) fault(`seq ${seq} of ${message.chat.conversation} behind a later one, ${scope}`)
    return
  }
  // What a group takes back from a member it deals late; a retained message comes when it is asked for.
  if (share !== undefined || message.retain) return
  const kind = `${scope} ${message.topic} ${message.qos} ${packet.qos}`
  // Of one whose publisher has gone nothing was promised: it may have been queued, and come with the next connection.
  if (message.attempts === 1 && !message.cut && later(`${kind} ${message.from}`, message.number)) fault(`behind a later one of its sender, ${scope} [MQTT-4.6.0-6]`)
  if (!message.cut && later(kind, message.start, message.end)) fault(`behind one that was published when it was acknowledged, ${scope}`)
}

function expiry ({ message, packet }: Arrival, fault: (text: string) => void): void {
  const left = packet.properties?.messageExpiryInterval
  if (message.expiry === 0 ? left !== undefined : left === undefined || left > message.expiry || left < message.expiry - 60) fault(`Message Expiry Interval ${left}, published with ${message.expiry} [MQTT-3.3.2-6]`)
}

/** Topic, QoS, RETAIN and identifiers are those of subscriptions that there were. */
function explained (session: Session, arrival: Arrival, resent: boolean, fault: (text: string) => void): void {
  const { message, packet, identifiers, at } = arrival
  if (message.chat === undefined && !asked(session, message)) {
    if (!retainedBy(session, arrival)) fault(`${packet.topic} at QoS ${packet.qos}: no subscription when it was published [MQTT-3.3.2-3]`)
    return
  }
  const snapshots = session.during(message.start, at)
  const found = message.chat === undefined
    ? queued(session, arrival, snapshots)
    : read(session, arrival, snapshots, resent)
  if (!found && !retainedBy(session, arrival)) fault(`${packet.topic} QoS ${packet.qos} RETAIN ${packet.retain ? 1 : 0} identifiers ${identifiers.join()}: no subscriptions are like that [MQTT-3.3.4-3]`)
}

/** An ordinary message. While subscriptions change it may be queued by the old ones and sent by the new ones. */
function queued (session: Session, { message, packet, identifiers, ...rest }: Arrival, snapshots: readonly Snapshot[]): boolean {
  const all = snapshots.map(snapshot => bringing(session, snapshot, message)).filter(by => by.length > 0)
  return all.some(by => qosBy(by, message) === packet.qos) && all.some(by => same(identifiersOf(by), identifiers)) &&
    all.some(by => retains(by, { message, packet, identifiers, ...rest }))
}

function retains (by: readonly Subscription[], { message, packet }: Arrival): boolean {
  return packet.retain ? message.retain && by.some(({ rap }) => rap) : !message.retain || by.some(({ rap }) => !rap)
}

/** A chat message is read from a log, while subscriptions change: where it comes, at which QoS and with which identifiers may each be of another moment. */
function read (session: Session, { message, packet, identifiers }: Arrival, snapshots: readonly Snapshot[], resent: boolean): boolean {
  const all = snapshots.map(({ subscriptions }) => [...subscriptions.values()])
  const matching = all.map(one => one.filter(({ filter }) => matches(filter, packet.topic)))
  // Who may not have asked a filter for No Local when he published is sent by it what he published.
  // Of what he has had of a group, or need not have, as he read it, nothing is known when he does not read it any more: his inbox brings it.
  const wasRead = message.chat?.gid !== undefined && packet.topic.startsWith('im/u/') && all.some(one => topicFor(session.user, one, message) !== packet.topic)
  const anyway = session.begun > message.start || wasRead ||
    session.during(message.start, message.end + afterwards).some(({ subscriptions }) => ![...subscriptions.values()].some(({ filter, nl }) => nl && matches(filter, packet.topic)))
  // A conversation is read at one QoS, that of all filters that match, whoever sends.
  const isWanted = all.some(one => topicFor(session.user, one, message) === packet.topic) && matching.some(one => one.length > 0 && qosBy(one, message) === packet.qos)
  // What was sent is completed, whatever is subscribed to by then [MQTT-3.10.4-3].
  return !packet.retain && (resent || isWanted) &&
    matching.some(one => {
      const others = one.filter(({ nl }) => !nl || session.id !== message.from)
      if (others.length === 0 && resent && identifiers.length === 0) return true
      return (others.length > 0 && same(identifiersOf(others), identifiers)) || (anyway && one.length > 0 && same(identifiersOf(one), identifiers))
    })
}

function asked (session: Session, message: Message): boolean {
  return session.during(message.start, message.end + afterwards).some(snapshot => bringing(session, snapshot, message).length > 0)
}

/** It is what was retained when somebody subscribed, or took its place before it was sent. */
function retainedBy (session: Session, { message, packet, identifiers }: Arrival): boolean {
  if (!message.retain || !packet.retain) return false
  const asked = session.triggers.filter(({ subscription }) => matches(subscription.filter, message.topic))
  // What waits for room is sent as the filter is subscribed to by then.
  const by = asked.flatMap(({ at, subscription }) => [subscription, ...session.during(at, Infinity).flatMap(({ subscriptions }) => subscriptions.get(subscription.filter) ?? [])])
  return by.some(({ qos }) => Math.min(qos, message.qos) === packet.qos) && identifiers.every(one => by.some(({ identifier }) => identifier === one))
}

function same (a: readonly number[], b: readonly number[]): boolean { return a.length === b.length && a.every((one, i) => one === b[i]) }
