/** Sending. */
import { z } from 'zod'
import { Refusal } from '../../errors.ts'
import { isId } from '../../topics.ts'
import type { Routes } from '../app.ts'
import type { ApiDesk } from './desk.ts'

/** Seconds: the most that MQTT can say (MQTT 5.0, section 3.3.2.3.3). */
const maxExpirySeconds = 4_294_967_295

const params = z.object({ id: z.string() })
const query = z.object({ expirySeconds: z.string().regex(/^\d{1,10}$/, 'must be a number of seconds').transform(Number).refine(seconds => seconds <= maxExpirySeconds, 'is too long').optional() })

/** What is answered to a message: where it is, and `cid`, by which sending it again is harmless. */
export interface Receipt { id: string, seq: number, ts: number, conv: string, cid: string }

/** `POST /v1/to/u/{id}` and `/v1/to/g/{id}`; the body is a payload, as it is published over MQTT. */
export function sendRoutes (desk: ApiDesk): Routes {
  return app => {
    for (const [path, kind] of [['/v1/to/u/:id', 'user'], ['/v1/to/g/:id', 'group']] as const) {
      app.post(path, { bodyLimit: desk.maxMessageBytes, schema: { params, querystring: query } }, async (request, reply): Promise<Receipt> => {
        const { params: { id }, query: { expirySeconds }, headers } = request
        if (!isId(id)) throw new Refusal('not_found', 'no valid id')
        const key = headers['idempotency-key']
        if (Array.isArray(key)) throw new Refusal('bad_payload', 'Idempotency-Key: is given more than once')
        const contentType = headers['content-type']
        const { stored, id: message = '', seq = 0, conv = '' } = await desk.ask(request, {
          target: { kind, id },
          payload: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
          ...contentType !== undefined && { contentType },
          ...key !== undefined && { key },
          ...expirySeconds !== undefined && { expirySeconds }
        })
        const { ts = 0, cid = '', replay = false } = stored ?? {}
        reply.code(replay ? 200 : 201)
        return { id: message, seq, ts, conv, cid }
      })
    }
  }
}
