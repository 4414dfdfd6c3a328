/** An engine in memory whose answers can be held back, so that a test drives each race of access step by step. */
import { directId, directUsers, groupId } from '../../broker/topics.ts'
import { answered } from '../../broker/engine/answered.ts'
import { Refusal, type Code } from '../../broker/errors.ts'
import type { Answer, Description, Engine, LogEntry, Output, SessionResume, SessionStart, StreamState, Submission } from '../../broker/link/port.ts'

type Call = 'authenticate' | 'authenticateStep' | 'openSession' | 'saveSubscriptions' | 'closeSession' | 'streams' | 'read' | 'isMember'
type Move = Parameters<Engine['advance']>[0][number]
type StreamsQuery = Parameters<Engine['streams']>[0]
type ReadQuery = Parameters<Engine['read']>[0]

/** A call that was held: it was computed when it came (a page as old as can be), or is computed when it is let go. */
export interface Held { query: unknown, asked (): void, now (): void, fail (err: Error): void }

interface Entry extends LogEntry { from: string }
interface Stored { expirySeconds: number, subscriptions: SessionResume['subscriptions'], inflight: SessionResume['inflight'] }

export class FakeEngine implements Engine {
  /** Calls of these names wait in `held`. */
  readonly holding = new Set<Call>()
  readonly held: Held[] = []
  /** While true, submissions wait in `submitted` for `answer`. */
  holdSubmissions = false
  readonly submitted: Submission[] = []
  readonly logs = new Map<string, Entry[]>()
  readonly members = new Map<string, Map<string, number>>()
  readonly delivered = new Map<string, number>()
  readonly cursors = new Map<string, { seq: number, sent: number }>()
  readonly sessions = new Map<string, Stored>()
  readonly live = new Set<string>()
  readonly moves: Move[] = []
  readonly ends: Array<Parameters<Engine['closeSession']>[0]> = []
  readonly hangUps: Array<{ session: string, graceful: boolean }> = []
  readonly reads: ReadQuery[] = []
  readonly streamQueries: StreamsQuery[] = []
  readonly hidden = new Set<string>()
  /** So many of a log's newest entries reads do not show yet. */
  readonly lag = new Map<string, number>()
  /** Milliseconds by which the time of the server is ahead of the machine's clock. */
  aheadMs = 0
  /** What publishes with DUP may be repeats of; without it nothing is remembered. */
  resends: SessionResume['resends']
  /** Hears what clients are known to have. */
  onProofs: (proofs: Parameters<Engine['prove']>[0]) => void = () => {}
  /** Where outputs go. */
  output: (outputs: Output[]) => void = () => {}
  #open = 0

  get openCalls (): number { return this.#open - this.held.length }

  #call<T> (name: Call, query: unknown, compute: () => T): Promise<T> {
    this.#open++
    return new Promise<T>((resolve, reject) => {
      const settle = (work: () => T): void => {
        this.#open--
        try { resolve(work()) } catch (err) { reject(err instanceof Error ? err : new Error(String(err))) }
      }
      if (!this.holding.has(name)) {
        setImmediate(() => { settle(compute) })
        return
      }
      const early = name === 'streams' || name === 'read' ? compute() : undefined
      const go = (work: () => T): void => {
        this.held.splice(this.held.indexOf(held), 1)
        settle(work)
      }
      const held: Held = {
        query,
        asked: () => { go(() => early === undefined ? compute() : early) },
        now: () => { go(compute) },
        fail: err => { go(() => { throw err }) }
      }
      this.held.push(held)
    })
  }

  /** The oldest call that is held. */
  next (): Held {
    const held = this.held[0]
    if (held === undefined) throw new Error('no call is held')
    return held
  }

  // ---- what happened in the world

  /** Appends a message to a log; `late` returns the output instead of emitting it. */
  append (conv: string, from: string, text = '', expiresAt?: number): Output {
    const log = this.log(conv)
    const seq = log.length + 1
    const payload = Buffer.from(JSON.stringify({ conv, seq, from, body: text }))
    log.push({ seq, payload, from, ...(expiresAt !== undefined ? { expiresAt } : {}) })
    if (conv.startsWith('e:')) return { kind: 'event', user: conv.slice(2), seq, payload }
    if (conv.startsWith('d:')) for (const user of directUsers(conv)) this.#join(conv, user, 0)
    this.#delivered(from, conv, seq)
    return { kind: 'message', conv, seq, from, payload, ...(expiresAt !== undefined ? { expiresAt } : {}) }
  }

  commit (conv: string, from: string, text = '', expiresAt?: number): void { this.output([this.append(conv, from, text, expiresAt)]) }
  event (user: string): void { this.output([this.append(`e:${user}`, user)]) }

  join (gid: string, ...users: string[]): void {
    const conv = groupId(gid)
    const joinedSeq = this.log(conv).length
    for (const user of users) this.#join(conv, user, joinedSeq)
    this.output([{ kind: 'members', gid, added: users.map(user => ({ user, joinedSeq })), removed: [] }])
  }

  leave (gid: string, user: string): void {
    this.members.get(groupId(gid))?.delete(user)
    this.output([{ kind: 'members', gid, added: [], removed: [user] }])
  }

  log (conv: string): Entry[] {
    let log = this.logs.get(conv)
    if (log === undefined) this.logs.set(conv, log = [])
    return log
  }

  #join (conv: string, user: string, joinedSeq: number): void {
    let members = this.members.get(conv)
    if (members === undefined) this.members.set(conv, members = new Map())
    if (!members.has(user)) members.set(user, joinedSeq)
  }

  #delivered (user: string, conv: string, seq: number): void {
    const key = `${user} ${conv}`
    if (seq > (this.delivered.get(key) ?? 0)) this.delivered.set(key, seq)
  }

  /** A session as an earlier run left it. */
  store (session: string, stored: Partial<Stored>, cursors: Record<string, { seq: number, sent: number }> = {}): void {
    this.sessions.set(session, { expirySeconds: 3600, subscriptions: [], inflight: [], ...stored })
    for (const [stream, cursor] of Object.entries(cursors)) this.cursors.set(`${session} ${stream}`, cursor)
  }

  cursor (session: string, stream: string): number { return this.cursors.get(`${session} ${stream}`)?.seq ?? 0 }

  // ---- Engine

  async describe (): Promise<Description> { return { info: { version: 'test' }, now: Date.now() + this.aheadMs } }

  submit (batch: Submission[]): void {
    this.submitted.push(...batch)
    if (!this.holdSubmissions) setImmediate(() => { this.answer() })
  }

  /** Answers the oldest `count` submissions; a payload `refuse` is refused, `fail` fails. */
  answer (count = this.submitted.length): void {
    for (const one of this.submitted.splice(0, count)) {
      const { ref, target } = one
      const text = Buffer.from(one.payload).toString()
      if (text === 'fail') this.output([{ kind: 'verdict', ref, ok: 'failed' }])
      else if (text === 'refuse') this.output([{ kind: 'verdict', ref, ok: false, code: 'blocked', reason: 'no' }])
      else if (target.kind === 'rpc') this.output([{ kind: 'verdict', ref, ok: true, rid: '1', answer: Buffer.alloc(Number(text) || 1, 'a') }])
      else {
        const conv = target.kind === 'user' ? directId(one.user, target.id) : groupId(target.id)
        const message = this.append(conv, one.user, text)
        const seq = message.kind === 'message' ? message.seq : 0
        this.output([{ kind: 'verdict', ref, ok: true, conv, id: `m${seq}`, seq }, message])
      }
    }
  }

  async authenticate ({ user }: { user: string | undefined }): Promise<Answer<{ user: string }>> {
    return await answered(this.#call('authenticate', user, () => {
      if (user === undefined || user === 'nobody') throw new Refusal('unauthorized' satisfies Code)
      return { user }
    }))
  }

  /** A method of two messages: who, and "proof". */
  async authenticateStep ({ data, state }: Parameters<Engine['authenticateStep']>[0]): ReturnType<Engine['authenticateStep']> {
    const text = Buffer.from(data).toString()
    return await answered(this.#call('authenticateStep', text, () => {
      if (state === undefined) return { user: text, data: Buffer.from('prove it'), state: text }
      if (text !== 'proof') throw new Refusal('unauthorized' satisfies Code)
      return { user: state, data: Buffer.from('it is proven') }
    }))
  }

  /** Users in whose name nothing is sent any more. */
  readonly barred = new Set<string>()
  async admits (user: string): Promise<boolean> { return !this.barred.has(user) }

  async willRefusal (): Promise<undefined> { /* every will may be published */ }

  async openSession (start: SessionStart): Promise<Answer<SessionResume>> {
    return await answered(this.#call('openSession', start, () => {
      const { session } = start
      if (this.live.has(session)) throw new Error(`${session} is open already`)
      this.live.add(session)
      const known = start.cleanStart ? undefined : this.sessions.get(session)
      if (known === undefined) for (const key of [...this.cursors.keys()]) if (key.startsWith(`${session} `)) this.cursors.delete(key)
      const inflight = start.share === true ? known?.inflight ?? [] : []
      if (start.expirySeconds > 0) this.sessions.set(session, { expirySeconds: start.expirySeconds, subscriptions: known?.subscriptions ?? [], inflight })
      else this.sessions.delete(session)
      return { present: known !== undefined, subscriptions: known?.subscriptions ?? [], inflight: known?.inflight ?? [], ...(this.resends !== undefined && { resends: this.resends }) }
    }))
  }

  async saveSubscriptions (session: string, subscriptions: SessionResume['subscriptions']): Promise<void> {
    await this.#call('saveSubscriptions', session, () => {
      const stored = this.sessions.get(session)
      if (stored !== undefined) stored.subscriptions = subscriptions
    })
  }

  async closeSession (end: Parameters<Engine['closeSession']>[0]): Promise<void> {
    await this.#call('closeSession', end, () => {
      this.ends.push(end)
      this.live.delete(end.session)
      const stored = this.sessions.get(end.session)
      if (end.expirySeconds === 0 || (end.unwanted === true && !this.#isWanted(end.session))) {
        this.sessions.delete(end.session)
        for (const key of [...this.cursors.keys()]) if (key.startsWith(`${end.session} `)) this.cursors.delete(key)
        return
      }
      if (stored !== undefined) stored.inflight = end.inflight
      for (const { stream, seq } of end.sent ?? []) this.cursors.set(`${end.session} ${stream}`, { seq, sent: seq })
    })
  }

  #isWanted (share: string): boolean {
    const filter = share.slice(share.indexOf('/') + 1)
    return [...this.sessions.values()].some(({ subscriptions }) => subscriptions.some(one => one.filter === filter))
  }

  hangUp (session: string, graceful: boolean): void { this.hangUps.push({ session, graceful }) }

  /** The engine lets the session wait, or not any more. */
  hold (session: string, held: boolean): void {
    this.output([{ kind: 'hold', session, held, ...(held && { full: true }) }])
  }

  async streams (query: StreamsQuery): ReturnType<Engine['streams']> {
    this.streamQueries.push(query)
    return await this.#call('streams', query, () => this.#streams(query))
  }

  #streams ({ session, user, kind, gid, only, after = '', limit }: StreamsQuery): Awaited<ReturnType<Engine['streams']>> {
    if (kind === 'event') return { streams: [this.#state(session, user, `e:${user}`, 'event')] }
    const prefix = kind === 'direct' ? 'd:' : 'g:'
    const ids = [...this.members].filter(([conv, members]) => conv.startsWith(prefix) && members.has(user) && (gid === undefined || conv === groupId(gid)))
      .map(([conv]) => kind === 'own' ? 'o' + conv.slice(1) : conv).filter(id => id > after && (only === undefined || id === only)).sort()
    const page = ids.slice(0, limit)
    const streams = page.map(id => this.#state(session, user, id, kind))
    return page.length < ids.length ? { streams, next: page.at(-1) as string } : { streams }
  }

  #state (session: string, user: string, stream: string, kind: string): StreamState {
    const conv = convOf(stream)
    const head = this.log(conv).length
    const known = this.cursors.get(`${session} ${stream}`)
    const floor = this.members.get(conv)?.get(user) ?? 0
    if (known !== undefined) return { stream, head, cursor: Math.max(known.seq, floor), sent: Math.max(known.sent, floor) }
    const cursor = kind === 'own' ? head : Math.max(floor, this.delivered.get(`${user} ${stream}`) ?? 0)
    return { stream, head, cursor, sent: cursor, ...this.sessions.has(session) && { begins: true } }
  }

  async read (query: ReadQuery): ReturnType<Engine['read']> {
    this.reads.push(query)
    return await this.#call('read', query, () => this.#read(query))
  }

  #read ({ user, stream, after, limit, maxBytes }: ReadQuery): { entries: LogEntry[], last: number } {
    const conv = convOf(stream)
    const log = this.log(conv).slice(0, -(this.lag.get(conv) ?? 0) || undefined)
    const floor = conv.startsWith('e:') ? 0 : this.members.get(conv)?.get(user)
    const entries: LogEntry[] = []
    let last = Math.max(after, floor ?? log.length)
    let bytes = 0
    for (const entry of log.slice(last)) {
      const seen = !this.hidden.has(`${conv} ${entry.seq}`) && (!stream.startsWith('o:') || entry.from === user)
      if (seen && entries.length > 0 && bytes + entry.payload.length > maxBytes) break
      if (seen && entries.length === limit) break
      if (seen) {
        bytes += entry.payload.length
        entries.push(entry)
      }
      last = entry.seq
    }
    return { entries, last }
  }

  advance (moves: Move[]): void {
    for (const move of moves) {
      this.moves.push(move)
      const { session, user, stream, seq, sent } = move
      if (!stream.startsWith('o:') && move.begins !== true) this.#delivered(user, stream, seq)
      if (!move.persistent) continue
      const key = `${session} ${stream}`
      const known = this.cursors.get(key)
      this.cursors.set(key, { seq: Math.max(seq, known?.seq ?? 0), sent: Math.max(sent, known?.sent ?? 0) })
    }
  }

  prove (proofs: Parameters<Engine['prove']>[0]): void { this.onProofs(proofs) }

  async isMember (user: string, gid: string): Promise<boolean> {
    return await this.#call('isMember', gid, () => this.members.get(groupId(gid))?.has(user) === true)
  }
}

function convOf (stream: string): string { return stream.startsWith('o:') ? 'g' + stream.slice(1) : stream }
