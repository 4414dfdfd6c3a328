/** Requests of the control channel. JSON in, JSON out; refusals as application/problem+json (RFC 9457). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { codes, Refusal, type Code } from '../errors.ts'
import { StoreDamagedError, StoreUnavailableError } from '../store/errors.ts'
import { isId } from '../topics.ts'
import type { ControlTarget } from './control-target.ts'

/** Bytes of one request's body. */
const maxBodyBytes = 65_536
/** Bytes of a password. */
const maxPasswordBytes = 1024
const maxPage = 1000
/** Milliseconds between two lines of progress. */
const progressIntervalMs = 100

interface Call {
  target: ControlTarget
  query: URLSearchParams
  /** The user id of the path; '' where the path has none. */
  uid: string
  body (): Promise<unknown>
  response: ServerResponse
}
type Route = (call: Call) => Promise<unknown>

const password = z.string().min(1).refine(text => Buffer.byteLength(text) <= maxPasswordBytes, `is longer than ${maxPasswordBytes} bytes`)
const newUser = z.strictObject({ password: password.optional() })
const newPassword = z.strictObject({ password })
const backupRequest = z.strictObject({ path: z.string().refine(isAbsolute, 'must be an absolute path').refine(path => !path.includes('\0'), 'must not contain NUL') })

const purgeRequest = z.strictObject({ retentionSeconds: z.int().min(0).optional() })

/** A problem document. `status` is that of the table of codes. */
export interface Problem { type: 'about:blank', title: string, status: number, code: Code, detail: string, retryAfterMs?: number }

const routes = new Map<string, Route>([
  ['GET /v1/status', ({ target }) => target.status()],
  ['GET /v1/users', ({ target, query }) => target.users.list(page(query))],
  ['PUT /v1/users/:', async ({ target, uid, body }) => { await target.users.add(uid, read(newUser, await body()).password) }],
  ['DELETE /v1/users/:', ({ target, uid }) => target.users.remove(uid)],
  ['PUT /v1/users/:/password', async ({ target, uid, body }) => { await target.users.passwd(uid, read(newPassword, await body()).password) }],
  ['PUT /v1/users/:/ban', ({ target, uid }) => target.users.ban(uid, true)],
  ['DELETE /v1/users/:/ban', ({ target, uid }) => target.users.ban(uid, false)],
  ['POST /v1/purge', async ({ target, body }) => await target.purge(read(purgeRequest, await body()).retentionSeconds)],
  ['GET /v1/plugins', ({ target }) => target.plugins()],
  ['POST /v1/backup', backup]
])

/** Answers one request; never throws. */
export function answer (request: IncomingMessage, response: ServerResponse, target: ControlTarget): void {
  dispatch(request, response, target).catch((error: unknown) => {
    const problem = problemOf(error)
    if (response.headersSent) response.end(JSON.stringify({ problem }) + '\n')
    else send(response, problem.status, 'application/problem+json', problem)
  })
}

async function dispatch (request: IncomingMessage, response: ServerResponse, target: ControlTarget): Promise<void> {
  // Taken as it is: a URL would make ways of the ids '.' and '..', which are ids like any other.
  const [pathname = '', search = ''] = (request.url ?? '').split('?', 2)
  const user = /^\/v1\/users\/([^/]*)(\/.*)?$/.exec(pathname)
  const route = routes.get(`${request.method} ${user === null ? pathname : `/v1/users/:${user[2] ?? ''}`}`)
  if (route === undefined) throw new Refusal('not_found', `no such request: ${request.method} ${pathname}`)
  const uid = decoded(user?.[1] ?? '')
  if (user !== null && !isId(uid)) throw new Refusal('bad_payload', 'a user id is 1 to 64 of A-Z a-z 0-9 . _ -')
  const result = await route({ target, query: new URLSearchParams(search), uid, body: () => readBody(request), response })
  if (!response.headersSent) send(response, 200, 'application/json', result ?? {})
}

/** A segment of a path; '' (no id) when it cannot be decoded. */
function decoded (segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return ''
  }
}

function send (response: ServerResponse, status: number, type: string, value: unknown): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
  response.end(JSON.stringify(value))
}

function problemOf (error: unknown): Problem {
  const reason = error instanceof Error ? error.message : String(error)
  const code = error instanceof StoreUnavailableError ? 'unavailable' : error instanceof StoreDamagedError ? 'damaged' : 'internal'
  const refusal = error instanceof Refusal ? error : new Refusal(code, reason)
  const { text, status } = codes[refusal.code]
  return {
    type: 'about:blank',
    title: text,
    status,
    code: refusal.code,
    detail: refusal.message,
    ...(refusal.retryAfterMs === undefined ? {} : { retryAfterMs: refusal.retryAfterMs })
  }
}

async function readBody (request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    // The rest is left unread; the answer closes the connection.
    if (bytes > maxBodyBytes) throw new Refusal('too_large', `a request has at most ${maxBodyBytes} bytes`)
    chunks.push(chunk)
  }
  if (bytes === 0) return {}
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw new Refusal('bad_payload', `the request is not JSON: ${(error as Error).name}`)
  }
}

function read<T> (schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Refusal('bad_payload', `${issue?.path.join('.') || 'the request'}: ${issue?.message ?? ''}`)
}

function page (query: URLSearchParams): { after?: string, limit: number } {
  const limit = Number(query.get('limit') ?? 100)
  if (!Number.isInteger(limit) || limit < 1 || limit > maxPage) throw new Refusal('bad_payload', `limit must be 1 to ${maxPage}`)
  const after = query.get('after')
  return after === null ? { limit } : { after, limit }
}

/** Streams progress as JSON lines; the last line is `{"ok":true}` or `{"problem":{…}}`. */
async function backup ({ target, body, response }: Call): Promise<void> {
  const { path } = read(backupRequest, await body())
  let nextAt = 0
  const begin = (): void => { if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' }) }
  await target.backup(path, (done, total) => {
    const now = performance.now()
    // A reader that is gone or slow costs nothing: lines are few and small.
    if (now < nextAt || response.destroyed) return
    nextAt = now + progressIntervalMs
    begin()
    response.write(JSON.stringify({ done, ...(total === undefined ? {} : { total }) }) + '\n')
  })
  begin()
  response.end('{"ok":true}\n')
}
