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
  | { kind: 'group', gid: string }
  | { kind: 'groups' }
  | { kind: 'server' }

/** Logs that a session reads: direct conversations, groups, its user's own messages in groups that it does not read, the event log. */
export type StreamKind = 'direct' | 'group' | 'own' | 'event'

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
  /** Where the answer to request `rid` is delivered. */
  answer (user: string, rid: string): string { return `${this.#root}u/${user}/rpc/${rid}` }
  /** Where a group's messages are delivered. */
  group (gid: string): string { return `${this.#root}g/${gid}` }
  /** The retained description of the server. */
  server (): string { return `${this.#root}server` }

  /** Reads a topic that was published to; call only when `isChat(topic)`. */
  target (topic: string): Target | TopicRefusal {
    const parts = topic.slice(this.#root.length).split('/')
    const [head, kind, id, verb] = parts
    if (head === 'to' && (kind === 'u' || kind === 'g')) {
      if (id === undefined || !isId(id)) return refuse('not_found', `'${clip(id ?? '')}' is not a valid id`)
      if (parts.length > 4) return refuse('not_found', 'no such topic')
      const to = kind === 'u' ? 'user' : 'group'
      if (verb === undefined) return { kind: to, id }
      return verbPattern.test(verb) ? { kind: to, id, verb } : refuse('not_found', `no such verb: '${clip(verb)}'`)
    }
    if (head === 'rpc' && kind !== undefined && parts.length === 2) {
      return /^[a-z]+(\.[a-z]+)?$/i.test(kind) && kind.length <= 64
        ? { kind: 'rpc', method: kind }
        : refuse('not_found', 'no such method')
    }
    if (head === 'u' || head === 'g' || head === 'presence' || head === 'server') {
      return refuse('forbidden', 'only the server publishes here')
    }
    return refuse('not_found', 'no such topic')
  }

  /**
   * Reads a topic filter of the chat tree for `user`; `undefined` when it is refused (default deny).
   * Membership of a group is not checked here.
   */
  filter (filter: string, user: string): ChatFilter | undefined {
    if (!filter.startsWith(this.#root)) return undefined
    const parts = filter.slice(this.#root.length).split('/')
    const [head, id, leaf] = parts
    if (head === 'server' && parts.length === 1) return { kind: 'server' }
    if (head === 'g' && id !== undefined && parts.length === 2) {
      if (id === '+') return { kind: 'groups' }
      return isId(id) ? { kind: 'group', gid: id } : undefined
    }
    if (head !== 'u' || id !== user || leaf === undefined) return undefined
    const own = { kind: 'own' as const, inbox: false, event: false, notice: false, rpc: false }
    if (leaf === '#' && parts.length === 3) return { kind: 'own', inbox: true, event: true, notice: true, rpc: true }
    if (leaf === '+' && parts.length === 3) return { kind: 'own', inbox: true, event: true, notice: true, rpc: false }
    if (leaf === 'rpc' && parts.length === 4) {
      const rid = parts[3] as string
      return rid === '+' || rid === '#' || isId(rid) ? { ...own, rpc: true } : undefined
    }
    if (parts.length !== 3) return undefined
    if (leaf === 'inbox' || leaf === 'event' || leaf === 'notice') return { ...own, [leaf]: true }
    return undefined
  }
}

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
