/** Requests of the control channel for the feed. */
import { z } from 'zod'
import { isId } from '../topics.ts'
import type { Routes } from './app.ts'
import type { FeedReaders } from '../link/feed.ts'

const params = z.object({ name: z.string().refine(isId, 'the name of a reader is 1 to 64 of A-Z a-z 0-9 . _ -') })
const registration = z.strictObject({ from: z.enum(['now', 'oldest']).default('now'), temporary: z.boolean().default(false) })
const query = z.object({ after: z.coerce.number().int().min(0).default(0), waitMs: z.coerce.number().int().min(0).max(30_000).default(0) })
const acknowledgement = z.strictObject({ position: z.int().min(0) })

export function feedRoutes (feed: FeedReaders): Routes {
  return app => {
    app.get('/v1/feed', () => feed.readers())
    app.put('/v1/feed/:name', { schema: { params, body: registration } }, ({ params: { name }, body }) => feed.register(name, body))
    app.delete('/v1/feed/:name', { schema: { params } }, async ({ params: { name } }) => {
      await feed.remove(name)
      return {}
    })
    app.get('/v1/feed/:name/entries', { schema: { params, querystring: query } }, ({ params: { name }, query }) => feed.read(name, query))
    app.put('/v1/feed/:name/position', { schema: { params, body: acknowledgement } }, async ({ params: { name }, body }) => {
      await feed.acknowledge(name, body.position)
      return {}
    })
  }
}
