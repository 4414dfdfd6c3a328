/** The operations of the table. */
import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../../errors.ts'
import type { Code } from '../../errors.ts'
import type { Target } from '../../topics.ts'
import { directId, directUsers, groupId, isId } from '../../topics.ts'
import type { Routes } from '../app.ts'
import type { ApiDesk } from './desk.ts'
import { payloadReader, rid, tableRoutes, takesBody, type ApiRoute, type PayloadReader } from './route.ts'

const succeeded = Buffer.from(`{"rid":"${rid}","ok":true,"result":`)

const packed = promisify(gzip)
/** Bytes of an answer that is worth being packed. */
const leastPackedBytes = 16_384

function viewOf (bytes: Uint8Array): Buffer { return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) }

export function operationRoutes (desk: ApiDesk): Routes {
  return app => {
    for (const route of tableRoutes()) {
      const url = route.path.replaceAll(/\{(\w+)\}/g, ':$1')
      const { operation: { kind, name } } = route
      const read = payloadReader(route)
      const handler = kind === 'request' ? requestHandler(desk, name, read) : verbHandler(desk, name)
      app.route({
        method: route.method,
        url,
        bodyLimit: desk.maxBodyBytes,
        handler: async (request, reply) => {
          checkBody(route, request)
          return await handler(request, reply)
        }
      })
    }
  }
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

function requestHandler (desk: ApiDesk, method: string, read: PayloadReader): Handler {
  const target: Target = { kind: 'rpc', method }
  return async (request, reply) => {
    const payload = read(request.params as Record<string, string>, request.query as Record<string, unknown>, bodyOf(request))
    const { answer } = await desk.ask(request, { target, payload })
    const result = resultOf(viewOf(answer ?? new Uint8Array()))
    reply.type('application/json')
    if (result.length < leastPackedBytes || !/\bgzip\b(?!;q=0(?:\.0*)?(?:,|$))/.test(request.headers['accept-encoding'] ?? '')) return reply.send(result)
    reply.header('content-encoding', 'gzip').header('vary', [reply.getHeader('vary'), 'Accept-Encoding'].filter(Boolean).join(', '))
    return reply.send(await packed(result, { level: constants.Z_BEST_SPEED }))
  }
}

/** A verb names whom it is about by its topic; here it is the conversation. */
function verbHandler (desk: ApiDesk, verb: string): Handler {
  return async (request, reply) => {
    const { conv } = request.params as { conv: string }
    await desk.ask(request, { target: { ...addressee(conv, desk.userOf(request)), verb }, payload: bodyOf(request) })
    return reply.code(204).send()
  }
}

function addressee (conv: string, user: string): { kind: 'user' | 'group', id: string } {
  const [a, b] = directUsers(conv)
  const isGroup = conv.startsWith('g:')
  const id = isGroup ? conv.slice(2) : a === user ? b : a
  if (![a, isGroup ? id : b].every(isId) || conv !== (isGroup ? groupId(id) : directId(a, b))) throw new Refusal('bad_payload', 'conv: must be a conversation id, d:{user}:{user} or g:{gid}')
  if (!isGroup && a !== user && b !== user) throw new Refusal('not_found', 'no such conversation')
  return { kind: isGroup ? 'group' : 'user', id }
}

function bodyOf ({ body }: FastifyRequest): Buffer { return Buffer.isBuffer(body) ? body : Buffer.alloc(0) }

function checkBody (route: ApiRoute, request: FastifyRequest): void {
  const type = request.headers['content-type']
  if (!takesBody(route) || type === undefined || bodyOf(request).length === 0) return
  if (!/^application\/([\w.+-]+\+)?json *(;|$)/i.test(type)) throw new Refusal('bad_payload', 'the body is JSON: send it as application/json')
}

/** What is within the answer that goes over MQTT; throws its refusal. */
function resultOf (answer: Buffer): Buffer {
  if (answer.length > succeeded.length && answer.compare(succeeded, 0, succeeded.length, 0, succeeded.length) === 0) return answer.subarray(succeeded.length, -1)
  const { code, reason, retryAfterMs } = JSON.parse(answer.toString()) as { code: Code, reason: string, retryAfterMs?: number }
  throw new Refusal(code, reason, retryAfterMs)
}
