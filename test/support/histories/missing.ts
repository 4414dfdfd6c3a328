/** What has to have come when everything is drained, and has not. */
import { shares } from './generator.ts'
import { matches } from './matching.ts'
import { bringing, mostBytes, qosBy, type Message, type Session } from './model.ts'
import { undealt } from './shared.ts'
import type { World } from './world.ts'

export function missing (world: World): string[] {
  const lacking: string[] = []
  for (const message of world.messages) {
    if (!message.taken) continue
    for (const session of world.sessions) if (lacks(world, session, message)) lacking.push(`m${message.number} did not come to ${session.id}`)
    for (const share of shares) if (undealt(world, message, share)) lacking.push(`m${message.number} came to nobody by ${share}`)
  }
  for (const session of world.sessions) lacking.push(...unretained(world, session))
  return lacking
}

function lacks (world: World, session: Session, message: Message): boolean {
  if (!session.alive || session.begun > message.start || session.copies.has(`${message.number} `)) return false
  const snapshots = session.during(message.start, world.now)
  const by = snapshots.map(snapshot => bringing(session, snapshot, message))
  // What waits for a filter goes with it [MQTT-3.10.4-2].
  const lasting = (by[0] ?? []).filter(({ filter }) => by.every(one => one.some(other => other.filter === filter)))
  if (lasting.length === 0) return false
  const connections = session.connections.filter(({ to }) => to > message.start)
  if (connections.some(({ maximumPacketSize }) => maximumPacketSize > 0 && mostBytes(message) > maximumPacketSize)) return false
  // At QoS 0 it is for who is there.
  // A conversation is read at one QoS, that of all filters that match, whoever sends.
  const each = snapshots.map(snapshot => qosBy(bringing(session, snapshot, message, message.chat !== undefined), message))
  if (each.every(qos => qos > 0)) return true
  // What waited at QoS 1 is not waited for at QoS 0; and a session that goes on is sent what is live a little after its CONNACK.
  return session.connections.length === 1 && each.every(qos => qos === 0) && connections.every(({ from, to }) => from < message.start && to === Infinity)
}

/** A subscription that brought nothing retained, though there was something, and it never changed. */
function unretained (world: World, session: Session): string[] {
  if (!session.alive) return []
  return session.triggers.flatMap(({ at, subscription }) => {
    const last = retainedAt(world, at, subscription.filter)
    if (last === undefined || session.current.asked > at) return []
    const connections = session.connections.filter(({ to }) => to > at)
    const since = world.messages.filter(message => message.retain && message.number >= last.number)
    // What is sent at QoS 0 may be lost with its connection.
    if (connections.length > 1 && (subscription.qos === 0 || since.some(({ qos }) => qos === 0))) return []
    if (connections.some(({ maximumPacketSize }) => maximumPacketSize > 0 && world.messages.some(message => message.retain && mostBytes(message) > maximumPacketSize))) return []
    // What has taken its place meanwhile may have come instead.
    const got = world.messages.some(message => message.retain && message.end >= last.start && (session.copies.get(`${message.number} `) ?? []).some(copy => copy.at > at))
    return got ? [] : [`what was retained (m${last.number}) did not come to ${session.id} with ${subscription.filter}`]
  })
}

function retainedAt (world: World, at: number, filter: string): Message | undefined {
  return world.messages.findLast(message => message.retain && message.taken && message.end < at && matches(filter, message.topic))
}
