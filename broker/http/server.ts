import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { codes } from '../errors.ts'
import { network } from '../network.ts'
import { PerSecond } from '../per-second.ts'
import { limitPipelining, type RequestLimits } from './request-limits.ts'

/** What the health pages ask. */
export interface Health {
  /** Resolves when the server can take messages; rejects with the cause otherwise. */
  ready (): Promise<void>
  /** False when the store failed for good: the process is about to end. */
  alive (): boolean
  version: string
  /** Causes go here and to nobody who asks: they may name machines, ports and paths. */
  log: Logger
  /** Milliseconds for which an answer of `ready` serves everybody who asks. */
  readyForMs: number
  limits: RequestLimits
  /** Whether a request with this Host is meant for this server. */
  hostAllowed: (host: string | undefined) => boolean
}

const maxHeaderBytes = 16_384
/** Milliseconds between two looks for connections whose time is over. */
const checkIntervalMs = 500

/** The HTTP server: health pages now; WebSocket is added by the access side. Not yet listening. */
export function createHttp (health: Health): Server {
  const { log, limits } = health
  const rate = new PerSecond(limits.requestsPerSecond)
  const pages = new HealthPages(health)
  const server = createServer({
    requestTimeout: limits.requestTimeoutMs,
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: checkIntervalMs,
    maxHeaderSize: maxHeaderBytes
  }, (request, response) => {
    // What was parsed before the connection's end is answered to nobody.
    if (request.socket.destroyed) return
    // Bodies are not read here: the rest of the connection could not be trusted.
    response.shouldKeepAlive = response.shouldKeepAlive && request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined
    const address = request.socket.remoteAddress ?? ''
    if (!rate.take(network(address))) {
      log.info({ address }, 'too many requests of one address')
      return tooMany(response)
    }
    if (!health.hostAllowed(request.headers.host)) {
      log.info({ address, host: request.headers.host }, 'a request by a foreign name was refused')
      return send(response, 403, problem(403, 'forbidden', 'this server does not go by that name; http.hosts lists further ones'))
    }
    pages.answer(request, response).catch((err: Error) => {
      log.error({ err }, 'a health page failed')
      send(response, 500, problem(500, 'internal', codes.internal.text))
    })
  })
  // Who neither sends nor takes anything, answers not taken included.
  server.setTimeout(limits.requestTimeoutMs)
  limitPipelining(server, limits.pipelinedRequests)
  return server
}

class HealthPages {
  readonly #health: Health
  #isReady = true
  /** The answer that serves all, until `#askAgainAt` (monotonic clock, milliseconds). */
  #answer: Promise<void> | undefined
  #askAgainAt = 0

  constructor (health: Health) { this.#health = health }

  async answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { version } = this.#health
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== '/healthz' && path !== '/readyz') return send(response, 404, problem(404, 'not_found', 'there is no such page'))
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return send(response, 405, problem(405, 'method_not_allowed', 'only GET and HEAD'))
    }
    if (path === '/healthz') {
      if (!this.#health.alive()) return send(response, 503, problem(503, 'unavailable', 'the store failed for good: the server ends'))
      return send(response, 200, { status: 'ok', version })
    }
    try {
      await this.#ready()
    } catch {
      // `#ask` has told the log.
      return send(response, 503, problem(503, 'unavailable', 'the store does not take messages now; the log says why'))
    }
    send(response, 200, { status: 'ready', version })
  }

  /** One look at the store at a time, and one in `readyForMs`, however many ask. */
  #ready (): Promise<void> {
    if (this.#answer === undefined || performance.now() >= this.#askAgainAt) {
      this.#askAgainAt = Infinity
      this.#answer = this.#ask().finally(() => { this.#askAgainAt = performance.now() + this.#health.readyForMs })
    }
    return this.#answer
  }

  async #ask (): Promise<void> {
    try {
      await this.#health.ready()
    } catch (err) {
      this.#change(err as Error)
      throw err
    }
    this.#change()
  }

  /** Told once, however often it is asked. */
  #change (err?: Error): void {
    if (this.#isReady === (err === undefined)) return
    this.#isReady = !this.#isReady
    if (err === undefined) this.#health.log.info('ready again')
    else this.#health.log.error({ err }, 'not ready: the store does not take messages')
  }
}

function tooMany (response: ServerResponse): void {
  response.shouldKeepAlive = false
  response.setHeader('retry-after', '1')
  send(response, 429, problem(429, 'rate_limited', codes.rate_limited.text))
}

/** RFC 9457. */
function problem (status: number, code: string, detail: string): Record<string, unknown> {
  return { type: 'about:blank', title: code.replaceAll('_', ' '), status, code, detail }
}

function send (response: ServerResponse, status: number, body: Record<string, unknown>): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'status' in body && typeof body.status === 'number' ? 'application/problem+json' : 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff'
  })
  response.end(response.req.method === 'HEAD' ? undefined : text)
}
