import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { codes } from '../errors.ts'

/** What the health pages ask. */
export interface Health {
  /** Resolves when the server can take messages; rejects with the cause otherwise. */
  ready (): Promise<void>
  version: string
  /** Causes go here and to nobody who asks: they may name machines, ports and paths. */
  log: Logger
}

/** The HTTP server: health pages now; WebSocket is added by the access side. Not yet listening. */
export function createHttp (health: Health): Server {
  const { log } = health
  let ready = true
  /** Told once, however often it is asked. */
  const change = (err?: Error): void => {
    if (ready === (err === undefined)) return
    ready = !ready
    if (err === undefined) log.info('ready again')
    else log.error({ err }, 'not ready: the store does not take messages')
  }
  return createServer({ requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16_384 }, (request, response) => {
    answer(health, change, request, response).catch((err: Error) => {
      log.error({ err }, 'a health page failed')
      send(response, 500, problem(500, 'internal', codes.internal.text))
    })
  })
}

async function answer (health: Health, change: (err?: Error) => void, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0]
  // Bodies are not read here: the rest of the connection could not be trusted.
  response.shouldKeepAlive = response.shouldKeepAlive && request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined
  if (path !== '/healthz' && path !== '/readyz') return send(response, 404, problem(404, 'not_found', 'there is no such page'))
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return send(response, 405, problem(405, 'method_not_allowed', 'only GET and HEAD'))
  }
  if (path === '/healthz') return send(response, 200, { status: 'ok', version: health.version })
  try {
    await health.ready()
  } catch (err) {
    change(err as Error)
    return send(response, 503, problem(503, 'unavailable', 'the store does not take messages now; the log says why'))
  }
  change()
  send(response, 200, { status: 'ready', version: health.version })
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
