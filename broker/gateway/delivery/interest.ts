import { groupId, type ChatFilter } from '../../topics.ts'
import { streamKind, type Stream, type StreamKind } from './stream.ts'

type Granted = -1 | 0 | 1

/** The session, as a change of its interest needs it. */
export interface Interested {
  readonly streams: ReadonlyMap<string, Stream>
  dropStream (stream: Stream): void
  /** Looks for what the session has not read in streams of this kind, or in one of them. */
  scan (kind: StreamKind, only?: string): void
  cancelScans (kind: StreamKind): void
}

/** What a session's chat subscriptions add up to: overlapping filters deliver each message once, at the highest QoS. */
export class Interest {
  readonly #filters = new Map<string, { means: ChatFilter, qos: 0 | 1, identifier: number | undefined, noLocal: boolean }>()
  inbox: Granted = -1
  event: Granted = -1
  allGroups: Granted = -1
  /** A filter has, or had, an identifier. */
  identifies = false
  /** A filter has, or had, No Local. */
  noLocal = false
  notice = false
  answers = false
  /** It reads what the server says of itself. */
  server = false
  /** Filters of `$SYS`, by level. */
  sys: string[][] = []
  /** Copies of the user's own messages in groups that it does not read come with the inbox. */
  copies = true
  /** What is delivered comes in its compact form. */
  compact = false
  #groups = new Map<string, Granted>()
  /** What the session's streams agree with. */
  #applied = { inbox: -1 as Granted, event: -1 as Granted, allGroups: -1 as Granted, groups: new Map<string, Granted>() }

  get size (): number { return this.#filters.size }
  has (filter: string): boolean { return this.#filters.has(filter) }
  /** The QoS of a filter; undefined when there is none. */
  granted (filter: string): 0 | 1 | undefined { return this.#filters.get(filter)?.qos }
  /** For storing with a persistent session. */
  list (): Array<{ filter: string, qos: 0 | 1, identifier?: number, noLocal?: true }> {
    return [...this.#filters].map(([filter, { qos, identifier, noLocal }]) => ({ filter, qos, ...identifier !== undefined && { identifier }, ...noLocal && { noLocal } }))
  }

  /** `identifier`: what the subscriber calls the subscription by. `noLocal`: it is not to bring what the session publishes itself. */
  set (filter: string, means: ChatFilter, qos: 0 | 1, identifier?: number, noLocal = false): void {
    this.identifies ||= identifier !== undefined
    this.noLocal ||= noLocal
    this.#filters.set(filter, { means, qos, identifier, noLocal })
  }

  delete (filter: string): boolean { return this.#filters.delete(filter) }
  /** The identifier of a filter. */
  identifier (filter: string): number | undefined { return this.#filters.get(filter)?.identifier }

  /** A filter has No Local. */
  isNoLocal (filter: string): boolean { return this.#filters.get(filter)?.noLocal === true }

  /** How many of the filters that bring a stream have No Local: what the session publishes itself, they do not bring [MQTT-3.8.3-3]. */
  noLocalOf (kind: StreamKind, id: string): 'none' | 'some' | 'all' {
    let [local, others] = [false, false]
    for (const { means, noLocal } of this.#filters.values()) {
      if (!brings(means, kind, id)) continue
      if (noLocal) local = true
      else others = true
    }
    return !local ? 'none' : others ? 'some' : 'all'
  }

  /** A filter with No Local brings, or would, what the session publishes in a conversation; of a group the inbox, when the session does not read that any more. */
  isOwnHidden (conv: string): boolean {
    const kind = streamKind(conv)
    return this.noLocalOf(kind, conv) !== 'none' || (kind === 'group' && this.noLocalOf('own', conv) !== 'none')
  }

  /** The identifiers of all filters that bring an entry of a stream. `own`: the session has published it. */
  identifiersOf (kind: StreamKind, id: string, own: boolean): number[] {
    const found: number[] = []
    for (const { means, identifier, noLocal } of this.#filters.values()) {
      if (identifier !== undefined && !(own && noLocal) && brings(means, kind, id)) found.push(identifier)
    }
    return found
  }

  qosOf (kind: StreamKind, id: string): Granted {
    switch (kind) {
      case 'direct': return this.inbox
      case 'event': return this.event
      case 'group': return max(this.allGroups, this.#groups.get(id.slice(2)) ?? -1)
      case 'own': return this.copies && this.qosOf('group', id) === -1 ? this.inbox : -1
    }
  }

  /** Makes the session's streams agree with its filters: drops what is not wanted any more, scans for what is new. */
  apply (session: Interested): void {
    const before = this.#applied
    this.sum()
    this.#applied = { inbox: this.inbox, event: this.event, allGroups: this.allGroups, groups: this.#groups }
    for (const stream of [...session.streams.values()]) {
      if (this.qosOf(stream.kind, stream.id) !== stream.qos) session.dropStream(stream)
    }
    // A narrower filter went, a wider one of another QoS stays.
    const lost = [...before.groups.keys()].filter(gid => !this.#groups.has(gid) && this.allGroups !== -1 && !session.streams.has(`g:${gid}`))
    if (this.inbox !== before.inbox) rescan(session, 'direct', this.inbox)
    if (this.event !== before.event) rescan(session, 'event', this.event)
    const own = this.copies && this.allGroups === -1 ? this.inbox : -1
    if (own !== (before.allGroups === -1 ? before.inbox : -1)) rescan(session, 'own', own)
    if (this.allGroups !== before.allGroups) {
      rescan(session, 'group', this.allGroups)
      if (this.allGroups === -1) for (const gid of this.#groups.keys()) session.scan('group', groupId(gid))
      return
    }
    for (const [gid, qos] of this.#groups) {
      if (before.groups.get(gid) !== qos) session.scan('group', groupId(gid))
    }
    for (const gid of lost) session.scan('group', groupId(gid))
  }

  /** Looks again at what stays in memory of streams that others write to as well: groups and events. */
  lookAgain (session: Interested): void {
    const { event, allGroups, groups } = this.#applied
    if (event !== -1) rescan(session, 'event', event)
    rescan(session, 'group', allGroups)
    if (allGroups === -1) for (const gid of groups.keys()) session.scan('group', groupId(gid))
  }

  /** Adds up the filters. `apply` does it too. */
  sum (): void {
    this.inbox = this.event = this.allGroups = -1
    this.notice = this.answers = this.server = this.compact = false
    this.#groups = new Map()
    this.sys = []
    for (const [filter, { means, qos }] of this.#filters) {
      if (means.kind === 'own') {
        if (means.inbox) this.inbox = max(this.inbox, qos)
        if (means.event) this.event = max(this.event, qos)
        this.notice ||= means.notice
        this.answers ||= means.rpc
      } else if (means.kind === 'groups') {
        this.allGroups = max(this.allGroups, qos)
      } else if (means.kind === 'group') {
        this.#groups.set(means.gid, max(this.#groups.get(means.gid) ?? -1, qos))
      } else {
        this.server ||= means.kind === 'server'
        this.compact ||= means.kind === 'compact'
        if (means.kind === 'sys') this.sys.push(filter.split('/'))
      }
    }
  }
}

/** Own messages in groups that are not read by themselves come with the inbox. */
function brings (means: ChatFilter, kind: StreamKind, id: string): boolean {
  if (kind === 'group') return means.kind === 'groups' || (means.kind === 'group' && means.gid === id.slice(2))
  return means.kind === 'own' && (kind === 'event' ? means.event : means.inbox)
}

function rescan (session: Interested, kind: StreamKind, qos: Granted): void {
  session.cancelScans(kind)
  if (qos !== -1) session.scan(kind)
}

function max (a: Granted, b: Granted): Granted { return a > b ? a : b }
