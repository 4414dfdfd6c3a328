import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

/** What the health pages ask. */
export interface Health {
  /** Resolves when the server can take messages; rejects with the cause otherwise. */
  ready (): Promise<void>
  version: string
}

/** The HTTP server: health pages now; WebSocket is added by the access side. Not yet listening. */
export function createHttp (health: Health): Server {
  return createServer({ requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16_384 }, (request, response) => {
    answer(health, request, response).catch((err: Error) => {
      send(response, 500, problem(500, 'internal', err.message))
    })
  })
}

async function answer (health: Health, request: IncomingMessage, response: ServerResponse): Promise<void> {
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
    return send(response, 503, problem(503, 'unavailable', (err as Error).message))
  }
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
