/** Requests (`{prefix}/rpc/{method}`) and the `…/read` verb: reads the payload, calls control, writes the answer. */
import type { Logger } from 'pino'
import { codes, Refusal } from '../errors.ts'
import type { Code } from '../errors.ts'
import { isId } from '../topics.ts'
import { StoreFailure } from './committer.ts'
import type { Control } from './control-port.ts'
import type { EngineHost } from './host.ts'
import { JsonText } from './json-text.ts'
import { isKeepable, isObject, maxDepth, parse, textOf } from './payload.ts'
import type { Submission, Verdict } from './port.ts'

/** Bytes of a request, where messages are held to less. */
const minRequestBytes = 65_536

export class Requests {
  readonly #host: EngineHost
  readonly #control: Control

  constructor (host: EngineHost, control: Control) {
    this.#host = host
    this.#control = control
  }

  /** Serves a request or a read mark, after the session's earlier messages. Never rejects. */
  async serve (submission: Submission): Promise<Verdict> {
    const { ref, target } = submission
    try {
      const maxBytes = Math.max(this.#host.limits.maxMessageBytes, minRequestBytes)
      if (submission.payload.length > maxBytes) throw new Refusal('too_large', `at most ${maxBytes} bytes`)
      if (target.kind === 'rpc') return await this.#request(submission, target.method)
      await this.#control.readMark(submission, target, readMark(submission.payload))
      return { kind: 'verdict', ref, ok: true }
    } catch (error) {
      if (isStoreFailure(error)) return { kind: 'verdict', ref, ok: 'failed' }
      const { code, reason, retryAfterMs } = refusalOf(error, this.#host.log)
      return { kind: 'verdict', ref, ok: false, code, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) }
    }
  }

  async #request (submission: Submission, name: string): Promise<Verdict> {
    const { rid, params } = readRequest(submission.payload)
    const answer = (bytes: Uint8Array): Verdict => ({ kind: 'verdict', ref: submission.ref, ok: true, rid, answer: bytes })
    try {
      const method = this.#control.methods.get(name)
      if (method === undefined) throw new Refusal('not_found', `no such method: '${name}'`)
      const result = await method(this.#host, { user: submission.user, session: submission.session }, params)
      if (result instanceof Uint8Array) return answer(result)
      if (result instanceof JsonText) return answer(Buffer.concat([Buffer.from(`{"rid":"${rid}","ok":true,"result":`), ...result.parts, Buffer.from('}')]))
      return answer(Buffer.from(JSON.stringify({ rid, ok: true, result: result ?? {} })))
    } catch (error) {
      return answer(Buffer.from(JSON.stringify({ rid, ok: false, ...refusalOf(error, this.#host.log) })))
    }
  }
}

/** What of an error its user may see; what is no refusal is logged and becomes `internal` or `unavailable`. */
function refusalOf (error: unknown, log: Logger): { code: Code, reason: string, retryAfterMs?: number } {
  if (error instanceof Refusal) {
    const { code, message, retryAfterMs } = error
    return { code, reason: message, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  }
  if (isStoreFailure(error)) return { code: 'unavailable', reason: codes.unavailable.text }
  log.error({ err: error }, 'a request failed')
  return { code: 'internal', reason: codes.internal.text }
}

/** The store did not take a commit, or does not answer at all: trying again may help. */
function isStoreFailure (error: unknown): boolean {
  return error instanceof StoreFailure || (error instanceof Error && error.name === 'StoreUnavailableError')
}

/** `{"rid":"1",…}`: where the answer goes, and the parameters (`rid` among them, for methods that write their own answer). */
function readRequest (payload: Uint8Array): { rid: string, params: Record<string, unknown> } {
  const request = parse(textOf(payload))
  if (!isObject(request)) throw new Refusal('bad_payload', 'a request is a JSON object')
  const { rid } = request
  if (typeof rid !== 'string' || !isId(rid)) throw new Refusal('bad_payload', 'rid: 1 to 64 of A-Z a-z 0-9 . _ -')
  if (!isKeepable(request)) throw new Refusal('bad_payload', `nested deeper than ${maxDepth}, or a number out of range`)
  return { rid, params: request }
}

/** `42` or `{"seq":42}`. */
function readMark (payload: Uint8Array): number {
  const mark = parse(textOf(payload))
  const seq = isObject(mark) ? mark['seq'] : mark
  if (!Number.isSafeInteger(seq) || (seq as number) < 1) throw new Refusal('bad_payload', 'a read mark is 42 or {"seq":42}')
  return seq as number
}
