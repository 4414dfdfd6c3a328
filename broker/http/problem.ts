/** What a request that fails is answered: application/problem+json (RFC 9457) with the codes of the whole server. */
import { STATUS_CODES, type ServerResponse } from 'node:http'
import { codes, Refusal, type Code } from '../errors.ts'

/** A problem document. `status` is that of the table of codes. */
export interface Problem { type: 'about:blank', title: string, status: number, code: Code | 'method_not_allowed', detail: string, retryAfterMs?: number }

export const problemType = 'application/problem+json'

/** Headers of every answer. */
export const answerHeaders = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

export function problemOf ({ code, message, retryAfterMs }: Refusal): Problem {
  const { text, status } = codes[code]
  return { type: 'about:blank', title: text, status, code, detail: message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
}

/** The one problem of HTTP alone, which no other way to this server can have. */
export function wrongMethod (allowed: readonly string[]): Problem {
  return { type: 'about:blank', title: STATUS_CODES[405] ?? '', status: 405, code: 'method_not_allowed', detail: `only ${allowed.join(' and ')}` }
}

/** What the one who asked is to blame for and may read: refusals, and requests that cannot be read; `undefined` for any other failure. */
export function refusalOf (error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error
  if (!(error instanceof Error)) return undefined
  const { code, statusCode } = error as { code?: unknown, statusCode?: unknown }
  if (typeof code !== 'string' || !code.startsWith('FST_') || typeof statusCode !== 'number' || statusCode >= 500) return undefined
  return new Refusal(statusCode === 413 ? 'too_large' : 'bad_payload', error.message)
}

/** Answers with a problem where no router has been yet. What is left of the request is not read: the connection ends. */
export function sendProblem (response: ServerResponse, problem: Problem, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(problem)
  response.shouldKeepAlive = false
  response.writeHead(problem.status, { ...answerHeaders, ...headers, 'content-type': problemType, 'content-length': Buffer.byteLength(text) })
  response.end(response.req.method === 'HEAD' ? undefined : text)
}
