/**
 * Every topic of the chat tree, in one place. `topics.md` is checked against this file by a test.
 * The prefix (`im` by default) is configurable; ids are 1 to 64 of `A-Z a-z 0-9 . _ -`.
 */

/** A user id, group id or request id: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
export const idPattern = /^[A-Za-z0-9._-]{1,64}$/

/** True when `text` is a valid user or group id. */
export function isId (text: string): boolean { return idPattern.test(text) }

/** A verb that may follow `{prefix}/to/u/{uid}` and `{prefix}/to/g/{gid}`; which there are, `operations.ts` knows. */
const verbPattern = /^[a-z]{1,32}$/

/** What a publish to a chat topic asks for. */
export type Target =
  | { kind: 'user' | 'group', id: string, verb?: string }
  | { kind: 'rpc', method: string }

/** Why a publish to the chat tree is refused before the engine sees it. */
export interface TopicRefusal { refuse: 'forbidden' | 'not_found' | 'bad_payload', reason: string }

/** What a chat topic filter subscribes to. `own` filters name the subscriber's own tree. */
export type ChatFilter =
  | { kind: 'own', inbox: boolean, event: boolean, notice: boolean, rpc: boolean }
  /** Nothing comes there: messages and receipts come in their compact form. */
  | { kind: 'compact' }
  | { kind: 'group', gid: string }
  | { kind: 'groups' }
  | { kind: 'server' }
  | { kind: 'sys' }
  /** A shared subscription: what it brings comes by its share. */
  | { kind: 'shared' }

/** Logs that a session reads: direct conversations, groups, its user's own messages in groups that it does not read, the event log. */
export type StreamKind = 'direct' | 'group' | 'own' | 'event'

const sharePrefix = '$share/'

/** True for `$share/{name}/{filter}` of MQTT 5 (section 4.8.2). */
export function isShared (filter: string): boolean { return filter.startsWith(sharePrefix) }
/** What is shared. The codec has seen that there is a name and a filter ([MQTT-4.8.2-1], [MQTT-4.8.2-2]). */
export function sharedFilter (filter: string): string { return filter.slice(filter.indexOf('/', sharePrefix.length) + 1) }
/** True for what can be dealt to one session of several: what is kept in a log, and notices. Not answers, which go to who asked, and not what is a session's own affair. */
export function isShareable (means: ChatFilter): boolean {
  return means.kind === 'group' || means.kind === 'groups' || (means.kind === 'own' && (means.inbox || means.event || means.notice))
}

/** True for filters of what the server says of itself. */
export function isSys (filter: string): boolean { return filter === '$SYS' || filter.startsWith('$SYS/') }

/** The chat tree under one prefix. */
export class Topics {
  readonly prefix: string
  readonly #root: string

  constructor (prefix = 'im') {
    this.prefix = prefix
    this.#root = prefix + '/'
  }

  /** True for topics and filters inside the chat tree (the prefix itself included). */
  isChat (topic: string): boolean {
    return topic.startsWith(this.#root) || topic === this.prefix
  }

  /** Where direct messages (and copies of one's own) are delivered. */
  inbox (user: string): string { return `${this.#root}u/${user}/inbox` }
  /** Where receipts and membership changes are delivered. */
  event (user: string): string { return `${this.#root}u/${user}/event` }
  /** Where refusals are delivered. */
  notice (user: string): string { return `${this.#root}u/${user}/notice` }
  /** Who subscribes to it gets messages and receipts in their compact form. Nothing is published there. */
  compact (user: string): string { return `${this.#root}u/${user}/compact` }
  /** Where the answer to request `rid` is delivered. */
  answer (user: string, rid: string): string { return `${this.answers(user)}/${rid}` }
  /** What the topics of a user's answers begin with. */
  answers (user: string): string { return `${this.#root}u/${user}/rpc` }
  /** The request id in a topic of a user's answers; `undefined` for any other topic. */
  answerId (user: string, topic: string): string | undefined {
    const prefix = `${this.answers(user)}/`
    const rid = topic.slice(prefix.length)
    return topic.startsWith(prefix) && isId(rid) ? rid : undefined
  }

  /** Where a group's messages are delivered. */
  group (gid: string): string { return `${this.#root}g/${gid}` }
  /** The retained description of the server. */
  server (): string { return `${this.#root}server` }

  /** Reads a topic that was published to; call only when `isChat(topic)`. */
  target (topic: string): Target | TopicRefusal {
    const parts = topic.slice(this.#root.length).split('/')
    switch (parts[0]) {
      case 'to': return addressee(parts)
      case 'rpc': return request(parts)
      case 'u': case 'g': case 'presence': case 'server': return refuse('forbidden', 'only the server publishes here')
      default: return refuse('not_found', 'no such topic')
    }
  }

  /**
   * Reads a topic filter of the chat tree, or of `$SYS`, for `user`; `undefined` when it is refused (default deny).
   * Membership of a group is not checked here.
   */
  filter (filter: string, user: string): ChatFilter | undefined {
    if (isSys(filter)) return { kind: 'sys' }
    if (!filter.startsWith(this.#root)) return undefined
    const parts = filter.slice(this.#root.length).split('/')
    switch (parts[0]) {
      case 'server': return parts.length === 1 ? { kind: 'server' } : undefined
      case 'g': return parts.length === 2 ? groupFilter(parts[1] as string) : undefined
      case 'u': return parts[1] === user ? ownFilter(parts) : undefined
      default: return undefined
    }
  }
}

/** `to/u/{uid}` or `to/g/{gid}`, perhaps with a verb. */
function addressee (parts: readonly string[]): Target | TopicRefusal {
  const [, kind, id = '', verb] = parts
  if (kind !== 'u' && kind !== 'g') return refuse('not_found', 'no such topic')
  if (!isId(id)) return refuse('not_found', `'${clip(id)}' is not a valid id`)
  if (parts.length > 4) return refuse('not_found', 'no such topic')
  const to = kind === 'u' ? 'user' : 'group'
  if (verb === undefined) return { kind: to, id }
  return verbPattern.test(verb) ? { kind: to, id, verb } : refuse('not_found', `no such verb: '${clip(verb)}'`)
}

/** `rpc/{method}` */
function request (parts: readonly string[]): Target | TopicRefusal {
  if (parts.length !== 2) return refuse('not_found', 'no such topic')
  const method = parts[1] as string
  return /^[a-z]+(\.[a-z]+)?$/i.test(method) && method.length <= 64
    ? { kind: 'rpc', method }
    : refuse('not_found', 'no such method')
}

/** `g/{gid}` or `g/+` */
function groupFilter (gid: string): ChatFilter | undefined {
  if (gid === '+') return { kind: 'groups' }
  return isId(gid) ? { kind: 'group', gid } : undefined
}

/** What of the subscriber's own tree a filter names. */
function ownFilter (parts: readonly string[]): ChatFilter | undefined {
  const leaf = parts[2]
  if (parts.length === 4 && leaf === 'rpc') return isRequestFilter(parts[3] as string) ? own(false, false, false, true) : undefined
  if (parts.length !== 3) return undefined
  switch (leaf) {
    case '#': return own(true, true, true, true)
    case '+': return own(true, true, true, false)
    case 'inbox': return own(true, false, false, false)
    case 'event': return own(false, true, false, false)
    case 'notice': return own(false, false, true, false)
    case 'compact': return { kind: 'compact' }
    default: return undefined
  }
}

function own (inbox: boolean, event: boolean, notice: boolean, rpc: boolean): ChatFilter { return { kind: 'own', inbox, event, notice, rpc } }
function isRequestFilter (rid: string): boolean { return rid === '+' || rid === '#' || isId(rid) }
function refuse (code: TopicRefusal['refuse'], reason: string): TopicRefusal { return { refuse: code, reason } }
function clip (text: string): string { return text.length > 64 ? text.slice(0, 64) + '…' : text }

/** The id of the direct conversation of two users; the order of the arguments does not matter. */
export function directId (a: string, b: string): string { return a <= b ? `d:${a}:${b}` : `d:${b}:${a}` }
/** The id of a group's conversation. */
export function groupId (gid: string): string { return `g:${gid}` }
/** The id of a user's event log. */
export function eventLogId (user: string): string { return `e:${user}` }
/** The two users of a direct conversation's id. */
export function directUsers (conv: string): [string, string] {
  const [, a = '', b = ''] = conv.split(':')
  return [a, b]
}
