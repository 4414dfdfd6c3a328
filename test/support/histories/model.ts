/** What a history's clients have asked for and published, with the time of each: from when it may hold, and from when it does. */
import type { IPublishPacket } from 'mqtt-packet'
import type { Qos, Wanted } from './actions.ts'
import { matches } from './matching.ts'

/** Who has a chat message; its sender is among them. */
export interface Chat { conversation: string, users: string[], sender: string, gid: string | undefined }

export interface Message {
  readonly number: number
  readonly topic: string
  readonly chat: Chat | undefined
  /** Session id (`{user}/{clientId}`) of its publisher. */
  readonly from: string
  readonly qos: Qos
  readonly bytes: number
  readonly retain: boolean
  readonly expiry: number
  /** It may have been taken from `start` on, and not after `end`. */
  readonly start: number
  end: number
  /** The server has said that it has it. */
  taken: boolean
  /** Times that it was sent. */
  attempts: number
  /** The connection ended before it was answered. */
  cut: boolean
  /** The client ended it by DISCONNECT, and had not read the answer. */
  unread: boolean
}

export interface Subscription extends Wanted { identifier: number }

/** The subscriptions of a session; possibly from `asked` on, surely from `answered` on. */
export interface Snapshot { asked: number, answered: number, subscriptions: ReadonlyMap<string, Subscription> }

export interface Connection {
  readonly from: number
  to: number
  readonly maximumPacketSize: number
  /** What the client has sent before is with the server. */
  certain: number
}

/** A message as one session has got it; `acknowledged`: when the client has sent PUBACK or PUBREC. */
export interface Copy { topic: string, packetId: number, qos: Qos, at: number, connection: Connection, acknowledged: number, answeredOn: Connection | undefined, /** it was acknowledged before one that came earlier */ early: boolean }

/** A message as it came; `seq`: its number in its conversation. */
export interface Arrival { message: Message, packet: IPublishPacket, share: string | undefined, identifiers: number[], seq: number, at: number }

/** PUBACK comes a little before the message is sent on: who subscribes right after it may be sent it. In events. */
export const afterwards = 15

export class Session {
  readonly id: string
  readonly user: string
  readonly begun: number
  kept: boolean
  /** From then on it may be over: its client has gone, or begun anew. */
  over = Infinity
  readonly snapshots: Snapshot[]
  readonly connections: Connection[] = []
  /** By message, and by share for what came by one. */
  readonly copies = new Map<string, Copy[]>()
  /** Subscriptions that bring what is retained, and when. */
  readonly triggers: Array<{ at: number, subscription: Subscription }> = []
  /** The newest of each kind that has to come in order. */
  readonly newest = new Map<string, number>()

  constructor (id: string, user: string, kept: boolean, begun: number) {
    this.id = id
    this.user = user
    this.kept = kept
    this.begun = begun
    this.snapshots = [{ asked: begun, answered: begun, subscriptions: new Map() }]
  }

  get current (): Snapshot { return this.snapshots.at(-1) as Snapshot }
  get connection (): Connection | undefined {
    const last = this.connections.at(-1)
    return last?.to === Infinity ? last : undefined
  }

  /** It goes on without its connection, or has one. */
  get alive (): boolean { return this.over === Infinity }

  /** What may have held at some time between, both included. */
  during (from: number, to: number): Snapshot[] {
    return this.snapshots.filter(({ asked }, i) => asked <= to && (this.snapshots[i + 1]?.answered ?? Infinity) >= from)
  }
}

/** Ordinary subscriptions that bring a message to a session; `anyway`: No Local is not looked at. */
export function bringing (session: Session, { subscriptions }: Snapshot, message: Message, anyway = false): Subscription[] {
  const all = [...subscriptions.values()].filter(({ filter }) => !filter.startsWith('$share/'))
  const topic = topicFor(session.user, all, message)
  if (topic === undefined) return []
  return all.filter(({ filter, nl }) => matches(filter, topic) && (anyway || !nl || session.id !== message.from))
}

/** Where a message comes to a user with these subscriptions. */
export function topicFor (user: string, all: readonly Subscription[], { chat, topic }: Message): string | undefined {
  if (chat === undefined) return topic
  if (!chat.users.includes(user)) return undefined
  if (chat.gid === undefined) return `im/u/${user}/inbox`
  const group = `im/g/${chat.gid}`
  // Who does not read the group has copies of what he sends there.
  return all.some(({ filter }) => matches(filter, group)) ? group : chat.sender === user ? `im/u/${user}/inbox` : undefined
}

/** At which QoS these bring a message; chat is stored, and comes as it is subscribed to. */
export function qosBy (subscriptions: readonly Subscription[], { qos, chat }: Message): Qos {
  const most = Math.max(...subscriptions.map(one => one.qos))
  return Math.min(most, chat === undefined ? qos : 1) as Qos
}

export function identifiersOf (subscriptions: readonly Subscription[]): number[] {
  return subscriptions.map(({ identifier }) => identifier).filter(identifier => identifier > 0).sort((a, b) => a - b)
}

/** Bytes that it takes on the wire at most; an envelope has members of its own. */
export function mostBytes ({ topic, bytes, chat }: Message): number { return bytes + topic.length + (chat === undefined ? 60 : 500) }
