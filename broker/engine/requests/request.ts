/** Requests (`{prefix}/rpc/{method}`) and verbs (`…/read`): reads the payload, has the table's entry carried out, writes the answer. */
import type { Logger } from 'pino'
import { codes, Refusal } from '../../errors.ts'
import type { Code } from '../../errors.ts'
import { StoreDamagedError, StoreUnavailableError } from '../../store/errors.ts'
import { isId } from '../../topics.ts'
import type { Control } from '../control-port.ts'
import { CallerGone, type Caller, type EngineHost } from '../host.ts'
import { requests, verbs } from '../../operations.ts'
import { isDeeper } from './json-depth.ts'
import { JsonText } from './json-text.ts'
import { isKeepable, isObject, maxDepth, parse, textOf } from '../intake/payload.ts'
import { CountsBy } from '../../link/measures.ts'
import type { Submission, Verdict } from '../../link/port.ts'
import type { Addressee } from '../../operations/rules.ts'
import { RequestQueue } from './request-queue.ts'
import { RequestRates, type RequestRateOptions } from './request-rates.ts'
import type { Turns } from '../../turns.ts'

/** Bytes of a request, where messages are held to less. */
const minRequestBytes = 65_536
/** A verb (a read mark) needs no more. */
const maxVerbBytes = 1_024
/** A request that comes too soon is read for the place of its answer when it is no larger. */
const maxEarlyBytes = 1_024

export interface RequestOptions {
  /** Requests that are served at the same time, in all and of one user. */
  concurrency: number
  concurrencyPerUser: number
  rates: RequestRateOptions
}

/** For engines that are not told: tests, and commands without a server. */
export const freeRequests: RequestOptions = {
  concurrency: 16,
  concurrencyPerUser: 4,
  rates: { all: { perSecond: 1e6, burst: 1e6 }, heavy: { perSecond: 1e6, burst: 1e6 } }
}

/** Whether somebody still waits for an answer. */
export interface Asked { gone: boolean }

export class Requests {
  /** What became of them, by code. */
  readonly measures = new CountsBy()
  readonly #host: EngineHost
  readonly #control: Control
  readonly #turns: Turns
  readonly #queue: RequestQueue
  /** Before it, long ones: one of a user at a time. */
  readonly #long: RequestQueue
  readonly #rates: RequestRates

  constructor (host: EngineHost, control: Control, turns: Turns, options: RequestOptions) {
    this.#host = host
    this.#control = control
    this.#turns = turns
    this.#queue = new RequestQueue(options.concurrency, options.concurrencyPerUser)
    this.#long = new RequestQueue(options.concurrency, 1)
    this.#rates = new RequestRates(options.rates, () => performance.now(), host.sharedLimits)
  }

  /**
   * Serves a request or a verb, after the session's earlier messages, when it is the user's turn. Stops where it is when
   * nobody waits for it any more. Never rejects.
   */
  async serve (submission: Submission, asked: Asked): Promise<Verdict> {
    const { ref, target, user, payload } = submission
    try {
      await this.#turn(user, asked)
      const maxBytes = Math.max(this.#host.limits.maxMessageBytes, minRequestBytes)
      if (payload.length > maxBytes) throw new Refusal('too_large', `at most ${maxBytes} bytes`)
      if (target.kind === 'rpc') return await this.#rpc(submission, target.method, asked)
      await this.#verb(submission, { kind: target.kind, id: target.id }, target.verb ?? '')
      return { kind: 'verdict', ref, ok: true }
    } catch (error) {
      if (error instanceof CallerGone || error instanceof StoreUnavailableError) return { kind: 'verdict', ref, ok: 'failed' }
      const { code, reason, retryAfterMs } = this.#refused(error)
      return { kind: 'verdict', ref, ok: false, code, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) }
    }
  }

  async #turn (user: string, asked: Asked): Promise<void> {
    // Also when nobody waits any more: what has begun and must be finished goes on from here, and is to be no faster for that.
    await this.#turns.next(user)
    if (asked.gone) throw new CallerGone()
  }

  async #verb ({ user, session, payload }: Submission, target: Addressee, name: string): Promise<void> {
    const verb = verbs.get(name)
    this.#rates.take(user, verb?.rate === 'heavy')
    if (verb === undefined) throw new Refusal('not_found', `no such verb: '${name}'`)
    if (payload.length > maxVerbBytes) throw new Refusal('bad_payload', `${name}: at most ${maxVerbBytes} bytes`)
    await verb.run(this.#control.rules, { user, session }, target, parse(textOf(payload)))
  }

  /** What can be refused without reading the request is: reading costs as much as its sender likes. */
  async #rpc (submission: Submission, name: string, asked: Asked): Promise<Verdict> {
    const { user, payload } = submission
    const operation = requests.get(name)
    try {
      this.#rates.take(user, operation?.rate === 'heavy')
    } catch (error) {
      if (payload.length > maxEarlyBytes) throw error
      const { rid } = readRequest(submission)
      return { kind: 'verdict', ref: submission.ref, ok: true, rid, answer: failure(rid, this.#refused(error)) }
    }
    if (isDeeper(payload, maxDepth + 1)) throw new Refusal('bad_payload', tooDeep)
    const leaveLong = operation?.long === true ? await this.#long.enter(user) : undefined
    const leave = await this.#queue.enter(user)
    try {
      if (asked.gone) throw new CallerGone()
      return await this.#request(submission, name, asked)
    } finally {
      leave()
      leaveLong?.()
    }
  }

  async #request (submission: Submission, name: string, asked: Asked): Promise<Verdict> {
    const { user, session } = submission
    // Most of a piece is done when the store has answered, on the event loop or on a thread that shares its core.
    let goesOnAt = performance.now()
    const spend = (): void => { this.#turns.spend(Math.max(0, performance.now() - goesOnAt)) }
    const { rid, params } = readRequest(submission)
    const answer = (bytes: Uint8Array): Verdict => ({ kind: 'verdict', ref: submission.ref, ok: true, rid, answer: bytes })
    try {
      const operation = requests.get(name)
      if (operation === undefined) throw new Refusal('not_found', `no such method: '${name}'`)
      const caller: Caller = {
        user,
        session,
        rid,
        pause: async () => {
          spend()
          goesOnAt = Infinity
          try {
            await this.#turn(user, asked)
          } finally {
            goesOnAt = performance.now()
          }
        },
        charge: requests => { this.#rates.charge(user, requests) },
        owe: requests => { this.#rates.owe(user, requests) }
      }
      const result = await operation.run(this.#control.rules, caller, params)
      this.measures.add('ok')
      if (result instanceof Uint8Array) return answer(result)
      if (result instanceof JsonText) return answer(Buffer.concat([Buffer.from(`{"rid":"${rid}","ok":true,"result":`), ...result.parts, Buffer.from('}')]))
      return answer(Buffer.from(JSON.stringify({ rid, ok: true, result: result ?? {} })))
    } catch (error) {
      if (error instanceof CallerGone) throw error
      return answer(failure(rid, this.#refused(error)))
    } finally {
      spend()
    }
  }

  #refused (error: unknown): ReturnType<typeof refusalOf> {
    const refusal = refusalOf(error, this.#host.log)
    this.measures.add(refusal.code)
    return refusal
  }
}

function failure (rid: string, refusal: ReturnType<typeof refusalOf>): Buffer { return Buffer.from(JSON.stringify({ rid, ok: false, ...refusal })) }

/** What of an error its user may see; what is no refusal is logged and becomes `internal` or `unavailable`. */
function refusalOf (error: unknown, log: Logger): { code: Code, reason: string, retryAfterMs?: number } {
  if (error instanceof Refusal) {
    const { code, message, retryAfterMs } = error
    return { code, reason: message, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  }
  // The store did not take a commit, or does not answer at all: trying again may help.
  if (error instanceof StoreUnavailableError) return { code: 'unavailable', reason: codes.unavailable.text }
  if (error instanceof StoreDamagedError) {
    log.warn({ reason: error.message }, 'a request met a damaged row')
    return { code: 'damaged', reason: codes.damaged.text }
  }
  log.error({ err: error }, 'a request failed')
  return { code: 'internal', reason: codes.internal.text }
}

const tooDeep = `nested deeper than ${maxDepth}, or a number out of range`

/** `{"rid":"1",…}`: where the answer goes, and the parameters. */
function readRequest ({ payload, rid: named }: Pick<Submission, 'payload' | 'rid'>): { rid: string, params: Record<string, unknown> } {
  const request = parse(textOf(payload))
  if (!isObject(request)) throw new Refusal('bad_payload', 'a request is a JSON object')
  const rid = request['rid'] ?? named
  if (typeof rid !== 'string' || !isId(rid)) throw new Refusal('bad_payload', 'rid: 1 to 64 of A-Z a-z 0-9 . _ -')
  if (!isKeepable(request)) throw new Refusal('bad_payload', tooDeep)
  return { rid, params: request }
}
