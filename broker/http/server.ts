/** The HTTP server on TCP: who may ask how often, by which name, and how long a connection lives. */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { TlsOptions } from 'node:tls'
import { codes, Refusal } from '../errors.ts'
import { network } from '../network.ts'
import { PerSecond } from '../per-second.ts'
import type { Api } from './api/api.ts'
import { asyncApiRoutes } from './api/asyncapi.ts'
import { openApiRoutes } from './api/openapi.ts'
import { createApp } from './app.ts'
import { entryRoutes, type Entrance } from './entry.ts'
import { healthRoutes, type Health } from './health.ts'
import { metricsRoutes, type Metrics } from './metrics.ts'
import { problemOf, refusalOf, sendProblem, wrongMethod } from './problem.ts'
import { limitPipelining, type RequestLimits } from './request-limits.ts'

export interface HttpOptions extends Health {
  limits: RequestLimits
  /** What is said to those who look for a server; absent: nothing is. */
  entrance?: Entrance
  /** What the server measures; absent: it says nothing of it. */
  metrics?: Metrics | undefined
  /** What users ask; absent: it is off. */
  api?: Pick<Api, 'knows' | 'routes' | 'prefix'> | undefined
  /** Whether a request with this Host is meant for this server. */
  hostAllowed: (host: string | undefined) => boolean
}

const maxHeaderBytes = 16_384
/** Bytes of one request's body. */
const maxBodyBytes = 65_536
/** Milliseconds between two looks for connections whose time is over. */
const checkIntervalMs = 500

/** The HTTP server: health pages, where to connect, the API; WebSocket is added by the gateway. Not yet listening. */
export async function createHttp (options: HttpOptions): Promise<Server> {
  const { log, limits, entrance, api, metrics } = options
  const admit = admission(options)
  const server = await createApp({
    listener: handler => createServer(serverOptions(limits), (request, response) => { if (admit(request, response)) handler(request, response) }),
    routes: [healthRoutes(options), ...entrance === undefined ? [] : [entryRoutes(entrance)], ...metrics === undefined ? [] : [metricsRoutes(metrics)], ...api === undefined ? [] : [api.routes, openApiRoutes(options.version), asyncApiRoutes(options.version, api.prefix)]],
    maxBodyBytes,
    missing: (_method, _path, allowed) => allowed.length > 0 ? wrongMethod(allowed) : problemOf(new Refusal('not_found', 'there is no such page')),
    problemOf: error => {
      const refusal = refusalOf(error)
      if (refusal !== undefined) return problemOf(refusal)
      log.error({ err: error }, 'a page failed')
      return problemOf(new Refusal('internal'))
    }
  })
  limit(server, limits)
  return server
}

/** A server that answers as `main` does, at a place of its own: with TLS, or behind proxies (`seen` is called with each request before anything looks at it). Not yet listening. */
export function furtherHttp (main: Server, limits: RequestLimits, { tls, seen }: { tls?: TlsOptions, seen?: (request: IncomingMessage) => void }): Server {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    seen?.(request)
    main.emit('request', request, response)
  }
  const server = tls === undefined ? createServer(serverOptions(limits), answer) : createHttpsServer({ ...serverOptions(limits), ...tls }, answer)
  if (seen !== undefined) server.prependListener('upgrade', seen)
  limit(server, limits)
  return server
}

function serverOptions (limits: RequestLimits): ServerOptions {
  return {
    requestTimeout: limits.requestTimeoutMs,
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: checkIntervalMs,
    maxHeaderSize: maxHeaderBytes
  }
}

function limit (server: Server, limits: RequestLimits): void {
  // Who neither sends nor takes anything, answers not taken included.
  server.setTimeout(limits.requestTimeoutMs)
  limitPipelining(server, limits.pipelinedRequests)
}

/** Decides before anything else looks at a request whether it is served; answers it when it is not. */
export function admission ({ log, limits, hostAllowed, api }: Pick<HttpOptions, 'log' | 'limits' | 'hostAllowed' | 'api'>): (request: IncomingMessage, response: ServerResponse) => boolean {
  const rate = new PerSecond(limits.requestsPerSecond)
  return (request, response) => {
    // What was parsed before the connection's end is answered to nobody.
    if (request.socket.destroyed) return false
    // Bodies are for few: the rest of the connection could not be trusted.
    response.shouldKeepAlive = response.shouldKeepAlive && request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined
    const address = request.socket.remoteAddress ?? ''
    // Who is signed in is held to the limits of users.
    if (api?.knows(request) !== true && !rate.take(network(address))) {
      log.info({ address }, 'too many requests of one address')
      sendProblem(response, problemOf(new Refusal('rate_limited', codes.rate_limited.text, 1000)), { 'retry-after': '1' })
      return false
    }
    if (!hostAllowed(request.headers.host)) {
      log.info({ address, host: request.headers.host }, 'a request by a foreign name was refused')
      sendProblem(response, problemOf(new Refusal('forbidden', 'this server does not go by that name; http.hosts lists further ones')))
      return false
    }
    return true
  }
}
