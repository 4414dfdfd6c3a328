/** What holds for a message of a shared subscription: one member gets it, and another only when the first one's session has ended. */
import { matches } from './matching.ts'
import { afterwards, mostBytes, type Arrival, type Copy, type Message, type Session, type Snapshot, type Subscription } from './model.ts'
import type { World } from './world.ts'

function memberBy ({ subscriptions }: Snapshot, share: string, topic: string): Subscription | undefined {
  return [...subscriptions.values()].find(({ filter }) => isOf(filter, share) && matches(filter.split('/').slice(2).join('/'), topic))
}

/** Filters have names of the history's own in them, shares are written with their placeholder. */
function isOf (filter: string, share: string): boolean {
  const [own, wanted] = [filter.split('/'), share.split('/')]
  return own[0] === '$share' && own[1] === wanted[1] && filter.endsWith(share.slice(share.indexOf('/s/')))
}

/** A message came to a member of a share. */
export function dealt (world: World, session: Session, { message, packet, identifiers, at }: Arrival, share: string, copy: Copy, fault: (text: string) => void): void {
  if (identifiers.length !== 1) fault(`identifiers ${identifiers.join()} by ${share}`)
  if (packet.retain) fault('RETAIN by a share')
  const own = session.during(message.start, at).flatMap(snapshot => memberBy(snapshot, share, message.topic) ?? [])
  if (!own.some(({ identifier }) => identifier === identifiers[0])) fault(`identifier ${identifiers[0]} is not its subscription's [MQTT-3.3.4-3]`)
  if (packet.qos > Math.min(message.qos, Math.max(...own.map(({ qos }) => qos)))) fault(`QoS ${packet.qos} by ${share}`)
  if (!world.sessions.some(one => one.during(message.start, message.end + afterwards).some(snapshot => memberBy(snapshot, share, message.topic) !== undefined))) fault(`nobody was in ${share}`)
  const all = world.sessions.flatMap(one => one.during(message.start, at).flatMap(snapshot => memberBy(snapshot, share, message.topic)?.qos ?? []))
  if (all.every(qos => qos === all[0]) && packet.qos !== Math.min(message.qos, all[0] ?? 0)) fault(`QoS ${packet.qos} by ${share}, where all have ${all[0]}`)
  const key = `${message.number} ${share}`
  const before = world.dealt.get(key) ?? []
  world.dealt.set(key, before)
  if (before.some(one => one.copy === copy)) return
  const others = before.filter(one => one.session !== session)
  // What its publisher has sent twice at QoS 1 is two messages.
  if (message.attempts === 1 || message.qos === 2) for (const other of others) once(other, at, fault)
  before.push({ session, copy })
}

function once ({ session, copy }: { session: Session, copy: Copy }, at: number, fault: (text: string) => void): void {
  if (session.over > at) fault(`another member has it, whose session goes on: ${session.id} [MQTT-4.8.2-4]`)
  else if (copy.qos === 0) fault(`${session.id} has it, at QoS 0`)
  else if (copy.qos === 2) fault(`${session.id} had it at QoS 2 [MQTT-4.8.2-5]`)
  else if (copy.answeredOn !== undefined && copy.acknowledged < copy.answeredOn.certain) fault(`${session.id} has acknowledged it`)
}

/** A message that somebody in the share has to have got and nobody has. */
export function undealt (world: World, message: Message, share: string): boolean {
  if (!message.taken || message.qos === 0 || world.dealt.has(`${message.number} ${share}`)) return false
  const spans = world.sessions.flatMap(session => membership(session, share, message.topic))
  let reached = message.start
  for (const { from, to } of spans.sort((a, b) => a.from - b.from)) if (from <= reached) reached = Math.max(reached, to)
  return reached === Infinity && !world.sessions.some(session => excuses(session, message, share))
}

/** When a session was surely a member. */
function membership (session: Session, share: string, topic: string): Array<{ from: number, to: number }> {
  return session.snapshots.flatMap((snapshot, i) => {
    if (memberBy(snapshot, share, topic) === undefined) return []
    // Subscribed anew it is a member all the time.
    const next = session.snapshots[i + 1]
    const on = next !== undefined && memberBy(next, share, topic) !== undefined
    return [{ from: snapshot.answered, to: Math.min(session.over, next === undefined ? Infinity : on ? next.answered : next.asked) }]
  })
}

/** The message may have gone to the member, and nowhere else. */
function excuses (session: Session, message: Message, share: string): boolean {
  const own = session.during(message.start, Infinity).flatMap(snapshot => memberBy(snapshot, share, message.topic) ?? [])
  if (own.length === 0) return false
  const least = Math.min(message.qos, ...own.map(({ qos }) => qos))
  const most = Math.min(message.qos, Math.max(...own.map(({ qos }) => qos)))
  const connections = session.connections.filter(({ to }) => to > message.start)
  // At QoS 0 it is for who is there.
  if (least === 0 && !(connections.length === 1 && connections.every(({ from, to }) => from < message.start && to === Infinity))) return true
  if (most === 2 && session.over > message.start && session.over !== Infinity) return true
  return connections.some(({ maximumPacketSize }) => maximumPacketSize > 0 && mostBytes(message) > maximumPacketSize)
}
