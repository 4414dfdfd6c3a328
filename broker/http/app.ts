/** Makes the HTTP application of a listener: one router, one way to read requests, one kind of errors, whatever it listens on. */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { fastify, type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyServerOptions, type FastifyTypeProvider, type RouteOptions } from 'fastify'
import type { z } from 'zod'
import { Refusal } from '../errors.ts'
import { answerHeaders, problemType, sendProblem, type Problem } from './problem.ts'

/** The types of `params`, `querystring` and `body` are those of their zod schemas. */
interface ZodTypes extends FastifyTypeProvider { validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown }

export type App = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypes>

/** Adds routes; what they throw is answered as a problem. */
export type Routes = (app: App) => void

export interface AppOptions {
  /** Makes the server that takes the connections, with its limits; `handler` answers its requests. */
  listener (handler: RequestListener): Server
  routes: readonly Routes[]
  /** What a failed request is answered; refusals included. */
  problemOf (error: unknown): Problem
  /** What a request is answered that no route takes; `allowed` are the methods that this path has. */
  missing (method: string, path: string, allowed: readonly string[]): Problem
  /** Bytes of one request's body. */
  maxBodyBytes: number
}

/** Characters of one parameter of a path: the id of a conversation has two user ids. */
const maxParamLength = 200

// Typed for JSON Schema alone.
const compilersFactory = { buildValidator: () => zodValidator, buildSerializer: () => () => JSON.stringify } as unknown as CompilersFactory
type CompilersFactory = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/** Resolves to the server of `options.listener`, which answers by the routes and does not listen yet. */
export async function createApp (options: AppOptions): Promise<Server> {
  const app = fastify<Server>({
    serverFactory: handler => options.listener(handler),
    // No line for each request: what happens to them is for the log of the one who makes the application.
    logger: false,
    bodyLimit: options.maxBodyBytes,
    return503OnClosing: false,
    routerOptions: { maxParamLength },
    // Its own two compilers load Ajv.
    schemaController: { compilersFactory },
    frameworkErrors: (error, _request, reply) => {
      reply.hijack()
      sendProblem(reply.raw, options.problemOf(error))
    }
  }).withTypeProvider<ZodTypes>()
  // Node's own answer to what is no HTTP: it leaves an answer that has begun as it is.
  app.server.removeAllListeners('clientError')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => { readJson(body as string, done) })
  app.setErrorHandler((error, _request, reply) => send(reply, options.problemOf(error)))
  app.addHook('preValidation', (request, _reply, done) => {
    // No body is one without members; validators would be given null.
    if (request.body === undefined) request.body = {}
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const type = reply.getHeader('content-type')
    // JSON has no charset (RFC 8259, section 11).
    if (typeof type === 'string' && type.includes('json')) reply.header('content-type', type.split(';', 1)[0])
    const kept = reply.getHeader('cache-control')
    reply.headers(answerHeaders)
    if (kept !== undefined) reply.header('cache-control', kept)
    done()
  })
  oneSpelling(app, options)
  for (const routes of options.routes) {
    app.register((part, _options, done) => {
      routes(part as App)
      done()
    })
  }
  await app.ready()
  return app.server
}

/** Answers what no route takes before its body is read. Of a path only the plain spelling is a route's: rules that a proxy has for it hold. */
function oneSpelling (app: App, { missing }: AppOptions): void {
  const methodsOf = new Map<string, string[]>()
  app.addHook('onRoute', ({ url, method }: RouteOptions) => {
    const known = methodsOf.get(url)
    if (known === undefined) methodsOf.set(url, [method].flat())
    else known.push(...[method].flat())
  })
  app.addHook('onRequest', (request, reply, done) => {
    // As it came: an absolute URL, encoded letters and `#` would be ways to the same route.
    const path = (request.raw.url ?? '').split('?', 1)[0] ?? ''
    const { url } = request.routeOptions
    if (!request.is404 && url !== undefined && isSpelled(path, url)) return done()
    const allowed = [...methodsOf].flatMap(([route, methods]) => isSpelled(path, route) ? methods : [])
    const problem = missing(request.method, path, allowed)
    if (problem.status === 405) reply.header('allow', allowed.join(', '))
    send(reply, problem)
  })
}

function isSpelled (path: string, route: string): boolean {
  const parts = path.split('/')
  const names = route.split('/')
  return !path.includes('#') && names.length === parts.length && names.every((part, i) => part.startsWith(':') || part === parts[i])
}

function send (reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.retryAfterMs !== undefined) reply.header('retry-after', String(Math.ceil(problem.retryAfterMs / 1000)))
  return reply.code(problem.status).type(problemType).send(problem)
}

function readJson (text: string, done: (error: Error | null, body?: unknown) => void): void {
  if (text === '') return done(null)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (error) {
    return done(new Refusal('bad_payload', `the request is not JSON: ${(error as Error).name}`))
  }
  done(null, body)
}

function zodValidator ({ schema }: { schema: z.ZodType }): (data: unknown) => { value: unknown } | { error: Error } {
  return data => {
    const result = schema.safeParse(data)
    if (result.success) return { value: result.data }
    const [issue] = result.error.issues
    return { error: new Refusal('bad_payload', `${issue?.path.join('.') || 'the request'}: ${issue?.message ?? ''}`) }
  }
}
