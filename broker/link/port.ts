/**
 * The border between gateway (sockets, sessions, delivery) and engine (decisions). Everything that crosses it is plain data that can be cloned,
 * and nothing is answered at once, so that the engine can be in this thread, in another one or in another process. Two directions:
 * - the gateway calls `Engine`: batches have no answer, calls answer with promises. What is refused is answered with the refusal as a
 *   value; a promise rejects when the engine or its store cannot answer;
 * - the engine answers with one ordered stream of `Output`s. Order is part of the contract: the verdict of a message comes
 *   before its `message` output, and outputs of one conversation come in the order of its numbers.
 */
import type { Code } from '../errors.ts'
import type { ConnectionMark, OwnRuns } from '../store/store.ts'
import type { Target } from '../topics.ts'
import type { Position } from './position.ts'

/** What a call answers that can be refused. */
export type Answer<Value> = { ok: true, value: Value } | { ok: false, code: Code, reason: string, retryAfterMs?: number }

export type { OwnRuns }

/** A publish to a chat topic. */
export interface Submission {
  /** Echoed in the verdict; unique while the submission is open. */
  ref: number
  /** `{user}/{clientId}`. */
  session: string
  user: string
  target: Target
  payload: Uint8Array
  /** 0 when the sender gets no acknowledgement. */
  qos: 0 | 1 | 2
  packetId: number
  dup: boolean
  /** `SessionResume.resends` of the connection; without it no publish with DUP is taken for a repeat. */
  resends?: Resends
  /** With `resends`: which publish of the connection it is, from 1, and up to which of them the client has the answers. */
  number?: number
  proven?: number
  /** The sender's id of the message unless the payload has one. */
  cid?: string
  /** The same, of a sender who means it: a payload that has another one is refused. */
  key?: string
  /** The verdict is to say all of a message that was stored. */
  whole?: true
  /** The id of a request unless the payload has one. */
  rid?: string
  /** MQTT 5 content type. */
  contentType?: string
  /** MQTT 5 payload format indicator. */
  utf8?: boolean
  /** MQTT 5 message expiry interval, seconds. */
  expirySeconds?: number
}

/** The answer to one submission; verdicts of one session come in the order of its submissions. */
export type Verdict =
  | { kind: 'verdict', ref: number, ok: true, /** of a message */ conv?: string, id?: string, seq?: number, /** of one with `whole`; `replay`: it was stored before */ stored?: { ts: number, cid: string, replay: boolean }, /** of a request */ rid?: string, answer?: Uint8Array }
  | { kind: 'verdict', ref: number, ok: false, code: Code, reason: string, /** the sender's cid */ cid?: string, retryAfterMs?: number }
  /** The store failed: no acknowledgement may be sent, the connection closes. */
  | { kind: 'verdict', ref: number, ok: 'failed' }

/** A committed message, ready for delivery. */
export interface Committed {
  kind: 'message'
  conv: string
  seq: number
  from: string
  /** The whole envelope, UTF-8 JSON. */
  payload: Uint8Array
  expiresAt?: number
  /** When the message before it in the conversation was written, milliseconds since the epoch; where several servers write. */
  prevTs?: number
}

/** Why a connection is closed. */
export type KickCode = Code | 'taken_over'

export type Output = Verdict | Committed
  /** A new entry of a user's event log. */
  | { kind: 'event', user: string, seq: number, payload: Uint8Array }
  /**
   * The numbers after `after` up to `upTo` of a log (a conversation, or `e:{user}`) were committed, and their outputs may never come: whoever reads
   * it goes on from the store. It comes before higher numbers of that log: who has not heard of a log for a while cannot see a gap. `senders`: who
   * wrote the messages, of a group's. Said by what carries outputs to other gateways; an engine loses none.
   */
  | { kind: 'behind', log: string, after: number, upTo: number, senders: string[] }
  /** Members came (their history starts after `joinedSeq`) or went. Comes before messages that they may see. */
  | { kind: 'members', gid: string, added: Array<{ user: string, joinedSeq: number }>, removed: string[] }
  /** All groups that a user is in, whose sessions look at them, and at the user's events, again: what was said of either may never have come. */
  | { kind: 'groups', user: string, groups: string[] }
  /** Of what was stamped before then (milliseconds since the epoch) nothing is still to be said, by whichever server. */
  | { kind: 'whole', upTo: number }
  /** The time of all servers is so many milliseconds ahead of this machine's clock. */
  | { kind: 'clock', aheadMs: number }
  /** Live words of the server on a user's notice topic. */
  | { kind: 'notice', user: string, payload: Uint8Array }
  /**
   * Close the user's connections (`banned`, `not_found`: removed, `unauthorized`: a new password); `session` narrows it to one. `taken_over`: the
   * session goes on at another server, so this is of the connections here alone, and is never said to other servers. `grant` narrows it to those of a
   * login, `spare` leaves them out.
   */
  | { kind: 'kick', user: string, session?: string, grant?: string, spare?: string, code: KickCode }
  /** Connections of a login go on until then, milliseconds since the epoch. */
  | { kind: 'extended', user: string, grant: string, until: number }
  /**
   * While `held`, read nothing from the session's connection: what it sent waits for its sender's rate. May be said more than once. `full`: so much waits
   * that a new connection of the session is not read either, until it is no longer held.
   */
  | { kind: 'hold', session: string, held: boolean, full?: true }
  /** So many messages wait for their commit that more should wait where they are, or they do not any more. */
  | { kind: 'intake', full: boolean }
  /** A stored session ended without a connection: what is stored for it elsewhere can go. */
  | { kind: 'expired', session: string }
  /** `Description.info` is another one from now on. */
  | { kind: 'server', info: Record<string, unknown> }

/** A stream that a session reads: a log, where it starts for this session, and how far the log goes. */
export interface StreamState {
  /** `d:…`, `g:…`, `e:{user}` or `o:{gid}` (own messages in a group, for sessions that read only their inbox). */
  stream: string
  head: number
  /** Everything up to it was acknowledged by this device (or, for a new session, by some device of the user). */
  cursor: number
  /** Numbers up to it were sent to the device once: send them again with DUP. */
  sent: number
  /** The device has no cursor yet: who asked says by `advance` where it begins, which is earlier when something was committed meanwhile. */
  begins?: true
}

export interface LogEntry { seq: number, payload: Uint8Array, expiresAt?: number }

export interface SessionStart {
  session: string
  user: string
  clientId: string
  /** Discard what was stored for it. */
  cleanStart: boolean
  /** Seconds it outlives its connection; 0 = it ends with it. */
  expirySeconds: number
  /** It is that of a shared subscription, and `clientId` is its whole filter (ADR 21): counted apart, and what is stored as unacknowledged stays so until its next end. */
  share?: true
}

/** What publishes with DUP may be repeats of: those of this connection and of the one before it (ADR 4). */
export interface Resends { epoch: string, last?: ConnectionMark }

/** A chat subscription of a session; of MQTT 5: `identifier` goes with what the subscription brings, `noLocal` leaves out what the session publishes itself. */
export interface StoredSubscription { filter: string, qos: 0 | 1, identifier?: number, noLocal?: true }

export interface SessionResume {
  /** A stored session was taken up. */
  present: boolean
  subscriptions: StoredSubscription[]
  /** `had`: of a share, kept sessions that were sent it. */
  inflight: Array<{ packetId: number, stream: string, seq: number, had?: readonly string[] }>
  /** As its last connection has said when it ended (`SessionClose`). */
  own?: OwnRuns[]
  /** Absent for a session that ends with its connection: nothing is remembered of it. */
  resends?: Resends
  /** The process that had the session last, when that was another one, or an earlier start of this one. */
  from?: string
  /** It was connected at another server, which was told to end that connection. */
  takenOver?: true
}

/** What the server says of itself, and how late it was when it was asked. */
export interface Description {
  /** The retained description of the server: version, limits, features; what changes of it is an output. */
  info: Record<string, unknown>
  /** The time of the server, milliseconds since the epoch: what messages are stamped with, and expire by. */
  now: number
  /** As of the output `clock`; absent where the machine's clock is the server's time. */
  aheadMs?: number
  /** What this process calls itself among those that share its store; absent where it has the store for itself. */
  node?: string
}

/**
 * What somebody shows of themself. `user`: may be missing where something else says it. `password`: a password, or a token. `address`: of the client.
 * `protocol`: `mqtt3.1`, `mqtt3.1.1`, `mqtt5`, `http`.
 */
export interface SignInRequest { user: string | undefined, password: Uint8Array | undefined, address: string, clientId?: string, protocol?: string, certified?: true }

/** Who was let in. `until`: when what let them in ends (a token), milliseconds since the epoch: so does the connection. `grant`: the login that the token is of. */
export interface SignedIn { user: string, until?: number, grant?: string }

/** A message of a client's enhanced authentication (MQTT 5.0, section 4.12). `state`: of the step before, absent for the first one. */
export interface AuthStepRequest { method: string, data: Uint8Array, address: string, state?: string }

/** What the client is to be answered. With `state` it has to say more, which is handed over with it; without, `user` has proven who they are. */
export interface AuthStep extends SignedIn { data: Uint8Array, state?: string }

/** `proven`: up to which of the connection's publishes the client has the answers. */
export interface SessionClose {
  session: string
  expirySeconds: number
  graceful: boolean
  inflight: SessionResume['inflight']
  proven?: number
  /** What the session has published itself with No Local, and might be sent again. */
  own?: OwnRuns[]
  /** Of a share: what of these streams up to these numbers is not in `inflight` was acknowledged. */
  sent?: Array<{ stream: string, seq: number }>
  /** Of a share that its last connected session has unsubscribed from: it is over, unless a session that is away subscribes to it. */
  unwanted?: true
}

export interface Engine {
  describe (): Promise<Description>

  /** Publishes, in the order of arrival. The answers are outputs. */
  submit (batch: Submission[]): void

  /** Who it is when the credentials are right; refused as `unauthorized`, `banned`, `rate_limited`, `unavailable`. */
  authenticate (request: SignInRequest): Promise<Answer<SignedIn>>

  /** One step of enhanced authentication. Nothing is remembered of it but what the caller keeps. Refused as `authenticate` is, and as `bad_payload`, `forbidden`. */
  authenticateStep (request: AuthStepRequest): Promise<Answer<AuthStep>>

  /** False for a user whose account is banned or removed: what waits in its name is not sent. */
  admits (user: string): Promise<boolean>

  /** Why a will could never be published, as far as that is known when it is announced; undefined when nothing speaks against it. */
  willRefusal (will: { user: string, target: Target, payload: Uint8Array, contentType: string | undefined, utf8: boolean }): Promise<string | undefined>

  /** Takes up or creates a session; the session's earlier connection must have called `closeSession`. Refused as `rate_limited`. */
  openSession (start: SessionStart): Promise<Answer<SessionResume>>
  /** Stores subscriptions of a persistent session; on disk when it resolves. */
  saveSubscriptions (session: string, subscriptions: StoredSubscription[]): Promise<void>
  /**
   * The session's connection has ended: its requests that were not answered need not be. To be called after the last `submit` for
   * it and before the next connection's first. `graceful`: by DISCONNECT.
   */
  hangUp (session: string, graceful: boolean): void
  /**
   * The connection ended. `expirySeconds` as in `SessionStart`, as the client last set it. `graceful`: by DISCONNECT.
   */
  closeSession (end: SessionClose): Promise<void>

  /**
   * Streams of a session, in pages by stream id. `only`: that one (direct, own); a session without cursors has what came `since` then in it. `position`: it begins there in all of them, whatever any device has received. `own` gives `o:` streams, `event` the one event log. `seen`: to be said to `advance`, as one more stream, together
   * with what begins on the page: with it the session has gone through all streams of the kind.
   */
  streams (query: { session: string, user: string, kind: 'direct' | 'group' | 'own' | 'event', gid?: string, only?: string, since?: number, position?: Position, after?: string, limit: number }): Promise<{ streams: StreamState[], next?: string, seen?: string }>
  /** What of a stream the user may see, `seq > after`. `last` = numbers up to it were looked at (skip invisible ones). */
  read (query: { user: string, stream: string, after: number, limit: number, maxBytes: number }): Promise<{ entries: LogEntry[], last: number }>
  /** A device acknowledged (cursors, `seq`), or was sent (`sent`). Merged and written lazily; `persistent` sessions only keep cursors. `begins`: it is where the device starts, and acknowledges nothing. */
  advance (moves: Array<{ session: string, persistent: boolean, user: string, stream: string, seq: number, sent: number, begins?: true }>): void
  /** `proven` of connections that go on; merged and written lazily, for the case that the server dies. */
  prove (marks: Array<{ session: string, epoch: string, proven: number }>): void
  /** True when the user is a member. */
  isMember (user: string, gid: string): Promise<boolean>
}
