/** Listening: `GET /v1/stream` (an event stream) and `GET /v1/poll` (the same, an answer at a time). */
import type { FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { z } from 'zod'
import { Refusal } from '../../errors.ts'
import { readPosition } from '../../gateway/streams/places.ts'
import type { Outlet, Reader } from '../../gateway/streams/reader.ts'
import type { Streams } from '../../gateway/streams/streams.ts'
import type { Position } from '../../link/position.ts'
import type { Routes } from '../app.ts'
import type { ApiDesk } from './desk.ts'
import { EventStream } from './event-stream.ts'
import { Poll } from './poll.ts'

export interface StreamOptions {
  registry: Pick<Streams, 'enter' | 'close'>
  /** Milliseconds; see the configuration. */
  heartbeatMs: number
  stallTimeoutMs: number
  retryMs: number
  pollMs: number
  log: Logger
}

/** Milliseconds after which a client may try again what could not be answered. */
const againMs = 1000
/** Entries of a poll's answer. */
const [defaultLimit, mostLimit] = [100, 500]

const streamQuery = z.object({ after: z.string().min(1).optional() })
const pollQuery = z.object({ after: z.string().min(1).optional(), wait: whole(0, 86_400).optional(), limit: whole(1, mostLimit).optional() })

function whole (least: number, most: number) {
  return z.string().regex(/^\d{1,6}$/, 'must be a whole number').transform(Number).refine(number => number >= least && number <= most, `must be ${least} to ${most}`)
}

export function streamRoutes (desk: ApiDesk, { registry, pollMs, ...options }: StreamOptions): Routes {
  const enter = (request: FastifyRequest, outlet: Outlet, position: Position | undefined): Reader => {
    const reader = registry.enter({ ...desk.release(request) }, outlet, position)
    if (reader === 'user') throw new Refusal('rate_limited', 'too many streams of this user at the same time', againMs)
    if (reader === 'all') throw new Refusal('unavailable', 'too many streams at the same time', againMs)
    return reader
  }
  return app => {
    app.get('/v1/stream', { exposeHeadRoute: false, schema: { querystring: streamQuery } }, (request, reply) => {
      const position = positionOf(request.headers['last-event-id'] ?? request.query.after)
      const stream = new EventStream(reply.raw, options)
      const reader = enter(request, stream, position)
      reply.hijack()
      stream.begin(reader, reply.getHeaders() as Record<string, string>)
      reader.open()
    })
    app.get('/v1/poll', { exposeHeadRoute: false, schema: { querystring: pollQuery } }, async (request, reply) => {
      const { after, wait = 0, limit = defaultLimit } = request.query
      const waitMs = Math.min(wait * 1000, pollMs)
      const poll = new Poll(limit, waitMs)
      const reader = enter(request, poll, positionOf(after))
      // Until the answer, behind which Node counts anew.
      request.raw.socket.setTimeout(waitMs + options.stallTimeoutMs)
      const { body, why } = await poll.run(reader, hear => { reply.raw.once('close', hear) })
      if (why !== undefined && why !== 'moved') throw new Refusal(why)
      return reply.type('application/json').send(body ?? Buffer.alloc(0))
    })
  }
}

function positionOf (id: string | string[] | undefined): Position | undefined {
  if (id === undefined || id === '') return undefined
  const position = typeof id === 'string' ? readPosition(id) : undefined
  if (position === undefined) throw new Refusal('bad_payload', 'after: is no id of a stream')
  return position
}
