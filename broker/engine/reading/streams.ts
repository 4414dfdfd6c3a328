/**
 * What a session reads: the streams of its user with the place where this device stopped, and their entries.
 *
 * A persistent session has a cursor for every stream that it saw; when it has gone through all streams of a kind once, a cursor
 * named `!{kind}` says so; both are said by who reads (`begins`, `seen`), which knows what was committed since it asked. A stream without a cursor that turns up later came into being after that: it starts at its beginning,
 * not where another device of the user stands. Without that, a device that was away when a conversation began would miss its start.
 * The first cursors may be lost with the server: then the time of the SUBSCRIBE says what is for this device (since.ts).
 */
import { eventLogId, groupId } from '../../topics.ts'
import type { Cursor, Head, Member } from '../../store/store.ts'
import { envelope, eventPayload } from '../envelope.ts'
import type { EngineHost } from '../host.ts'
import type { Marks } from './marks.ts'
import type { Engine, LogEntry, StreamState } from '../../link/port.ts'
import { placeName, type Position } from '../../link/position.ts'
import { eventBefore, messageBefore, stampMarginMs } from './since.ts'
import { floorOf, visibleAfter } from './visible.ts'

type Query = Parameters<Engine['streams']>[0]
type Page = Awaited<ReturnType<Engine['streams']>>
type ReadQuery = Parameters<Engine['read']>[0]

/** Streams of one page, whatever was asked. */
const maxPage = 1_000

/** What is known of the sessions that read. */
export interface ReadingSessions {
  /** It outlives its connection, and has cursors. */
  isPersistent (session: string): boolean
  /** Since when it subscribes to what, by connections before this one; milliseconds since the epoch. `gid` for groups. */
  dates (session: string): Promise<{ of (kind: Query['kind'], gid?: string): number | undefined }>
}

export class Streams {
  readonly #host: EngineHost
  readonly #marks: Marks
  readonly #sessions: ReadingSessions

  constructor (host: EngineHost, marks: Marks, sessions: ReadingSessions) {
    this.#host = host
    this.#marks = marks
    this.#sessions = sessions
  }

  /** As `Engine.streams`. */
  async list (query: Query): Promise<Page> {
    await this.#marks.settled(query.user)
    const { kind, position } = query
    if (kind === 'event') return await this.#eventLog(query)
    return position === undefined ? await this.#conversations(query, kind) : await this.#placed(query, kind, position)
  }

  async #conversations (query: Query, kind: 'direct' | 'group' | 'own'): Promise<Page> {
    const { store } = this.#host
    const { session } = query
    const limit = Math.min(query.limit, maxPage)
    const rows = await this.#rows(query, kind, limit)
    const isNarrow = query.gid !== undefined || query.only !== undefined
    const next = !isNarrow && rows.length >= limit ? rows.at(-1)?.conv : undefined
    const ids = rows.map(row => streamOf(row.conv, kind))
    const persistent = this.#sessions.isPersistent(session)
    const cursors = persistent ? await store.cursors(session, [...ids, `!${kind}`]) : []
    const seenAll = cursors[ids.length] !== undefined
    const isNew = persistent && !seenAll && ids.some((_, i) => cursors[i] === undefined)
    const dates = isNew ? await this.#sessions.dates(session) : undefined
    // Last: a head is never older than the rows of its page.
    const heads = await store.heads(rows.map(row => row.conv))
    const streams = await Promise.all(rows.map(async (row, i): Promise<StreamState> => {
      const stream = ids[i] as string
      const head = heads[i]?.seq ?? 0
      const cursor = cursors[i]
      if (cursor !== undefined) return placed(stream, head, cursor, floorOf(row))
      let start = seenAll ? floorOf(row) : kind === 'own' ? head : Math.min(head, Math.max(row.deliveredSeq, floorOf(row)))
      const since = persistent ? dates?.of(kind, row.conv.slice(2)) : query.since
      if (since !== undefined) start = await messageBefore(store, row.conv, since - stampMarginMs, floorOf(row), start)
      return begun(stream, head, start, persistent)
    }))
    if (next !== undefined) return { streams, next: streamOf(next, kind) }
    return { streams, ...persistent && !seenAll && !isNarrow && { seen: `!${kind}` } }
  }

  /** Where a reader goes on that has its position itself. */
  async #placed (query: Query, kind: 'direct' | 'group' | 'own', { time, places }: Position): Promise<Page> {
    const { store } = this.#host
    const limit = Math.min(query.limit, maxPage)
    const rows = await this.#rows(query, kind, limit)
    const heads = await store.heads(rows.map(row => row.conv))
    const streams = await Promise.all(rows.map(async (row, i): Promise<StreamState> => {
      const stream = streamOf(row.conv, kind)
      const { seq: head, ts }: Pick<Head, 'seq' | 'ts'> = heads[i] ?? { seq: 0, ts: 0 }
      const place = places.get(placeName(stream))
      if (place !== undefined) return { stream, head, ...at(Math.min(head, Math.max(place, floorOf(row)))) }
      // Most conversations have rested since.
      return { stream, head, ...at(ts < time ? head : await messageBefore(store, row.conv, time, Math.min(head, floorOf(row)), head)) }
    }))
    const last = streams.at(-1)
    const hasNext = query.gid === undefined && query.only === undefined && rows.length >= limit
    return { streams, ...hasNext && last !== undefined && { next: last.stream } }
  }

  async #rows (query: Query, kind: 'direct' | 'group' | 'own', limit: number): Promise<Member[]> {
    const { store } = this.#host
    const only = query.gid !== undefined ? groupId(query.gid) : query.only === undefined ? undefined : conversationOf(query.only)
    if (only !== undefined) {
      const row = await store.member(query.user, only)
      return row === undefined ? [] : [row]
    }
    const after = query.after === undefined ? {} : { after: conversationOf(query.after) }
    return await store.memberships(query.user, { kind: kind === 'direct' ? 'd' : 'g', limit, ...after })
  }

  async #eventLog ({ session, user, position }: Query): Promise<Page> {
    const { store } = this.#host
    const stream = eventLogId(user)
    if (position !== undefined) {
      const { seq: head } = await store.eventHead(user)
      const place = position.places.get(placeName(stream)) ?? await eventBefore(store, user, position.time, head)
      return { streams: [{ stream, head, ...at(Math.min(head, place)) }] }
    }
    const persistent = this.#sessions.isPersistent(session)
    const [cursor, seenAll] = persistent ? await store.cursors(session, [stream, '!event']) : []
    const head = await store.eventHead(user)
    if (cursor !== undefined) return { streams: [placed(stream, head.seq, cursor, 0)] }
    const since = persistent && seenAll === undefined ? (await this.#sessions.dates(session)).of('event') : undefined
    let start = seenAll === undefined ? head.deliveredSeq : 0
    if (since !== undefined) start = await eventBefore(store, user, since - stampMarginMs, start)
    return { streams: [begun(stream, head.seq, start, persistent)], ...persistent && seenAll === undefined && { seen: '!event' } }
  }

  /** As `Engine.read`. */
  async read (query: ReadQuery): Promise<{ entries: LogEntry[], last: number }> {
    const { store } = this.#host
    const { user, stream } = query
    if (stream.startsWith('e:')) return stream === eventLogId(user) ? await this.#readEvents(query) : { entries: [], last: query.after }
    const conv = conversationOf(stream)
    const member = await store.member(user, conv)
    if (member === undefined) {
      const [head] = await store.heads([conv])
      return { entries: [], last: Math.max(query.after, head?.seq ?? 0) }
    }
    const { messages, edge } = await visibleAfter(store, member, this.#host.now(), {
      after: query.after,
      limit: query.limit,
      maxBytes: query.maxBytes,
      ...(stream.startsWith('o:') ? { from: user } : {})
    })
    return {
      entries: messages.map(({ seq, content, expiresAt }) => {
        const payload = envelope(conv, seq, content)
        return expiresAt === undefined ? { seq, payload } : { seq, payload, expiresAt }
      }),
      last: edge
    }
  }

  async #readEvents ({ user, after, limit, maxBytes }: ReadQuery): Promise<{ entries: LogEntry[], last: number }> {
    const { store } = this.#host
    const head = await store.eventHead(user)
    const events = await store.events(user, after, limit)
    const entries: LogEntry[] = []
    let bytes = 0
    for (const { seq, content } of events) {
      const payload = eventPayload(seq, content)
      bytes += payload.length
      if (entries.length > 0 && bytes > maxBytes) return { entries, last: (entries.at(-1) as LogEntry).seq }
      entries.push({ seq, payload })
    }
    // Slots leave holes in the numbers, also at the end of a page.
    const last = events.length < limit ? Math.max(after, head.seq) : after
    return { entries, last: Math.max(last, entries.at(-1)?.seq ?? 0) }
  }
}

/** Without a cursor; what the device is to have of a new log has none either. */
function begun (stream: string, head: number, start: number, persistent: boolean): StreamState {
  return { stream, head, cursor: start, sent: start, ...persistent && start > 0 && { begins: true } }
}

function at (cursor: number): Pick<StreamState, 'cursor' | 'sent'> { return { cursor, sent: cursor } }

/** A stored cursor, never before what the user may see, never beyond the log. */
function placed (stream: string, head: number, stored: Cursor, floor: number): StreamState {
  const cursor = Math.min(head, Math.max(stored.seq, floor))
  return { stream, head, cursor, sent: Math.min(head, Math.max(stored.sent, cursor)) }
}

function streamOf (conv: string, kind: Query['kind']): string { return kind === 'own' ? 'o' + conv.slice(1) : conv }
function conversationOf (stream: string): string { return stream.startsWith('o:') ? 'g' + stream.slice(1) : stream }
