import type { ChatFilter } from '../../topics.ts'
import type { Stream, StreamKind } from './stream.ts'

type Granted = -1 | 0 | 1

/** The session, as a change of its interest needs it. */
export interface Interested {
  readonly streams: ReadonlyMap<string, Stream>
  dropStream (stream: Stream): void
  /** Looks for what the session has not read in streams of this kind, or in one group's. */
  scan (kind: StreamKind, gid?: string): void
  cancelScans (kind: StreamKind): void
}

/** What a session's chat subscriptions add up to: overlapping filters deliver each message once, at the highest QoS. */
export class Interest {
  readonly #filters = new Map<string, { means: ChatFilter, qos: 0 | 1 }>()
  inbox: Granted = -1
  event: Granted = -1
  allGroups: Granted = -1
  notice = false
  answers = false
  #groups = new Map<string, Granted>()
  /** What the session's streams agree with. */
  #applied = { inbox: -1 as Granted, event: -1 as Granted, allGroups: -1 as Granted, groups: new Map<string, Granted>() }

  get size (): number { return this.#filters.size }
  has (filter: string): boolean { return this.#filters.has(filter) }
  /** The QoS of a filter; undefined when there is none. */
  granted (filter: string): 0 | 1 | undefined { return this.#filters.get(filter)?.qos }
  /** For storing with a persistent session. */
  list (): Array<{ filter: string, qos: 0 | 1 }> { return [...this.#filters].map(([filter, { qos }]) => ({ filter, qos })) }

  set (filter: string, means: ChatFilter, qos: 0 | 1): void { this.#filters.set(filter, { means, qos }) }
  delete (filter: string): boolean { return this.#filters.delete(filter) }

  qosOf (kind: StreamKind, id: string): Granted {
    switch (kind) {
      case 'direct': return this.inbox
      case 'event': return this.event
      case 'group': return max(this.allGroups, this.#groups.get(id.slice(2)) ?? -1)
      case 'own': return this.qosOf('group', id) === -1 ? this.inbox : -1
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
    const own = this.allGroups === -1 ? this.inbox : -1
    if (own !== (before.allGroups === -1 ? before.inbox : -1)) rescan(session, 'own', own)
    if (this.allGroups !== before.allGroups) {
      rescan(session, 'group', this.allGroups)
      if (this.allGroups === -1) for (const gid of this.#groups.keys()) session.scan('group', gid)
      return
    }
    for (const [gid, qos] of this.#groups) {
      if (before.groups.get(gid) !== qos) session.scan('group', gid)
    }
    for (const gid of lost) session.scan('group', gid)
  }

  /** Adds up the filters. `apply` does it too; a session that resumes needs it before. */
  sum (): void {
    this.inbox = this.event = this.allGroups = -1
    this.notice = this.answers = false
    this.#groups = new Map()
    for (const { means, qos } of this.#filters.values()) {
      if (means.kind === 'own') {
        if (means.inbox) this.inbox = max(this.inbox, qos)
        if (means.event) this.event = max(this.event, qos)
        this.notice ||= means.notice
        this.answers ||= means.rpc
      } else if (means.kind === 'groups') {
        this.allGroups = max(this.allGroups, qos)
      } else if (means.kind === 'group') {
        this.#groups.set(means.gid, max(this.#groups.get(means.gid) ?? -1, qos))
      }
    }
  }
}

function rescan (session: Interested, kind: StreamKind, qos: Granted): void {
  session.cancelScans(kind)
  if (qos !== -1) session.scan(kind)
}

function max (a: Granted, b: Granted): Granted { return a > b ? a : b }
