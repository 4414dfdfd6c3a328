/** The API: what a user may ask over MQTT, over HTTP. It decides nothing: each request becomes a submission of the user's, and its verdict an answer. */
import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { Refusal } from '../../errors.ts'
import type { Asked, Visit, Visits } from '../../gateway/visits.ts'
import type { Engine, SignedIn, Verdict } from '../../link/port.ts'
import { isId } from '../../topics.ts'
import type { App, Routes } from '../app.ts'
import { challenges, readCredentials, type Credentials } from './credentials.ts'
import { Origins } from './origins.ts'
import type { ApiDesk } from './desk.ts'
import { operationRoutes } from './operation-routes.ts'
import { sendRoutes } from './send-routes.ts'
import { streamRoutes, type StreamOptions } from './stream-routes.ts'
import { SignIns } from './sign-ins.ts'

export interface ApiOptions {
  authenticate: Engine['authenticate']
  visits: Pick<Visits, 'enter' | 'onKick' | 'count'>
  /** Pages of which origins may use it, beside those of this host; `*`: any. */
  origins: readonly string[]
  /** What all topics begin with. */
  prefix: string
  /** Milliseconds for which a sign-in is remembered. */
  signInMs: number
  /** Bytes of a message. */
  maxMessageBytes: number
  /** The server is about to end, and takes nobody. */
  draining: () => boolean
  /** Those who listen. */
  streams: StreamOptions
  log: Logger
}

/** Bytes of a request's body, where messages are held to less. */
const minBodyBytes = 65_536
/** Milliseconds after which a client may try again what could not be answered. */
const againMs = 1000
/** Milliseconds that the end of the server waits for answers. */
const patienceMs = 2000
/** Times that a sign-in is looked at anew because the account changed meanwhile. */
const mostTries = 3

export class Api implements ApiDesk {
  readonly maxBodyBytes: number
  readonly maxMessageBytes: number
  readonly prefix: string
  readonly #options: ApiOptions
  readonly #signIns: SignIns
  readonly #origins: Origins
  readonly #visits = new WeakMap<IncomingMessage, Visit>()
  #closing = false
  #emptied: (() => void) | undefined

  constructor (options: ApiOptions) {
    this.#options = options
    this.maxMessageBytes = options.maxMessageBytes
    this.prefix = options.prefix
    this.maxBodyBytes = Math.max(options.maxMessageBytes, minBodyBytes)
    this.#signIns = new SignIns({ authenticate: options.authenticate, lifeMs: options.signInMs })
    this.#origins = new Origins(options.origins)
    options.visits.onKick(user => { this.#signIns.forget(user) })
  }

  /** Whether the one who asks was signed in lately: limits of its user hold then, and not those of strangers. */
  knows ({ headers, socket }: IncomingMessage): boolean {
    if (headers.authorization === undefined) return false
    const credentials = readCredentials(headers.authorization)
    return credentials !== undefined && this.#signIns.known(credentials, socket.remoteAddress ?? '') !== undefined
  }

  get routes (): Routes {
    return app => {
      app.removeAllContentTypeParsers()
      app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
      app.addHook('onRequest', async (request, reply) => { await this.#admit(request, reply) })
      app.addHook('onSend', (_request, reply, _payload, done) => {
        if (reply.statusCode === 401) reply.header('www-authenticate', challenges)
        done()
      })
      app.addHook('preHandler', (request, reply, done) => {
        // All of it was read: what follows on the connection is a request.
        if (Buffer.isBuffer(request.body)) reply.raw.shouldKeepAlive = !this.#closing && keepsAlive(request.raw)
        done()
      })
      const paths = new Set<string>()
      app.addHook('onRoute', ({ url, method }) => { if (method !== 'OPTIONS' && method !== 'HEAD') paths.add(url) })
      sendRoutes(this)(app)
      operationRoutes(this)(app)
      streamRoutes(this, this.#options.streams)(app)
      for (const path of paths) this.#preflight(app, path)
    }
  }

  #preflight (app: App, path: string): void {
    app.options(path, (request, reply) => {
      reply.headers(this.#origins.preflight(request.headers)).code(204).send()
    })
  }

  /** Before the body is read: is it served, and who asks. */
  async #admit (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    reply.headers(this.#origins.headers(request.headers))
    if (request.method === 'OPTIONS') return
    if (!this.#origins.allows(request.headers)) throw new Refusal('forbidden', 'pages of this origin may not use the API; http.cors lists those that may')
    if (this.#closing || this.#options.draining()) {
      reply.header('connection', 'close')
      throw new Refusal('unavailable', 'the server stops', againMs)
    }
    const encoding = request.headers['content-encoding']
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') throw new Refusal('bad_payload', 'the body is encoded (Content-Encoding): send it as it is')
    const open: { visit?: Visit, gone: boolean } = { gone: false }
    reply.raw.once('close', () => {
      open.gone = true
      open.visit?.end()
      if (this.#closing && this.#options.visits.count === 0) this.#emptied?.()
    })
    const visit = open.visit = await this.#enter(request)
    if (open.gone) return visit.end()
    this.#visits.set(request.raw, visit)
  }

  async #enter (request: FastifyRequest): Promise<Visit> {
    const credentials = readCredentials(request.headers.authorization)
    const address = request.raw.socket.remoteAddress ?? ''
    if (credentials === undefined) throw new Refusal('unauthorized', 'sign in with Authorization: Basic or Bearer')
    for (let tries = 0; tries < mostTries; tries++) {
      // In one turn with the entry, from which on a kick is heard.
      const user = this.#signIns.known(credentials, address)
      if (user !== undefined) return this.#entered(user)
      await this.#signIn(credentials, address)
    }
    throw new Refusal('unavailable', 'the account changes while it is looked at', againMs)
  }

  #entered (user: string): Visit {
    const visit = this.#options.visits.enter(user)
    if (visit === 'user') throw new Refusal('rate_limited', 'too many requests of this user at the same time', againMs)
    if (visit === 'all') throw new Refusal('unavailable', 'too many requests at the same time', againMs)
    return visit
  }

  async #signIn (credentials: Credentials, address: string): Promise<void> {
    try {
      await this.#signIns.signIn(credentials, address)
    } catch (error) {
      if (!(error instanceof Refusal)) throw new Refusal('unavailable', 'who asks could not be looked up', againMs)
      this.#options.log.info({ code: error.code, ...nameOf(credentials), address }, 'a sign-in over HTTP was refused')
      throw error
    }
  }

  userOf (request: FastifyRequest): string { return this.#visitOf(request).user }

  #visitOf (request: FastifyRequest): Visit {
    const visit = this.#visits.get(request.raw)
    if (visit === undefined) throw new Refusal('unavailable', 'the client has gone', againMs)
    return visit
  }

  release (request: FastifyRequest): SignedIn {
    const visit = this.#visitOf(request)
    this.#visits.delete(request.raw)
    visit.end()
    if (visit.kicked !== undefined) throw new Refusal(visit.kicked)
    // Its login may have ended since it was let in.
    const credentials = readCredentials(request.headers.authorization)
    const signed = credentials && this.#signIns.signed(credentials, request.raw.socket.remoteAddress ?? '')
    if (signed === undefined) throw new Refusal('unavailable', 'the account changed meanwhile', againMs)
    return signed
  }

  async ask (request: FastifyRequest, asked: Asked): Promise<Extract<Verdict, { ok: true }>> {
    const visit = this.#visitOf(request)
    // Its body took time.
    if (visit.kicked !== undefined) throw new Refusal(visit.kicked)
    const verdict = await visit.ask(asked)
    if (verdict.ok === true) return verdict
    if (verdict.ok === 'failed') throw visit.kicked === undefined ? new Refusal('unavailable', 'there is no answer: what was asked may have been done', againMs) : new Refusal(visit.kicked)
    const { code, reason, retryAfterMs } = verdict
    // Not the reason: a gate may quote the message.
    this.#options.log.info({ code, user: visit.user, route: request.routeOptions.url }, 'a request over HTTP was refused')
    throw new Refusal(code, reason, retryAfterMs)
  }

  /** Takes no more; resolves when those that are open are answered, at the latest after two seconds. */
  async close (): Promise<void> {
    this.#closing = true
    this.#options.streams.registry.close()
    if (this.#options.visits.count === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      this.#emptied = resolve
      timer = setTimeout(resolve, patienceMs)
    })
    clearTimeout(timer)
  }
}

/** Whether the client wants to send more on its connection (RFC 9112, section 9.3). */
function keepsAlive ({ httpVersionMajor, httpVersionMinor, headers }: IncomingMessage): boolean {
  return httpVersionMajor === 1 && httpVersionMinor === 1 && !/\bclose\b/i.test(headers.connection ?? '')
}

/** A name that is none may be a password. */
function nameOf ({ user }: Credentials): { user?: string } { return user !== undefined && isId(user) ? { user } : {} }
