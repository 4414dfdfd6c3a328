/** Listening, as OpenAPI has it. */
type Json = Record<string, unknown>

const problems = { default: { $ref: '#/components/responses/Problem' } }
const id = { type: 'string', minLength: 1, description: 'Where the client is, as an earlier answer or event said it.' }
const after = { name: 'after', in: 'query', required: false, schema: id }
const example = '1.mffgbfi8.fx6WkqTgSYgC'
const message = { v: 1, conv: 'd:alice:bob', seq: 2, id: '0mb2k3j5c0000f3k9q2a', cid: 'order-17', from: 'alice', to: 'u/bob', ts: 1_790_000_000_001, type: 'text', body: 'hi' }

/** `GET /v1/stream`. */
export function streaming (): Json {
  return {
    operationId: 'stream',
    tags: ['stream'],
    summary: 'messages, events and notices of the user as they come, as an event stream (`ready`, `message`, `event`, `notice`, `reset`, `end`); each id is where to go on',
    parameters: [after, { name: 'Last-Event-ID', in: 'header', required: false, schema: id, description: 'The same as `after`, and before it.' }],
    responses: {
      200: {
        description: 'Goes on until one of both ends it.',
        content: { 'text/event-stream': { schema: { type: 'string' }, examples: { stream: { value: `retry: 2600\nid: ${example}\nevent: ready\ndata: {}\n\nid: ${example}\ndata: ${JSON.stringify(message)}\n\n` } } } }
      },
      ...problems
    }
  }
}

/** `GET /v1/poll`. */
export function polling (): Json {
  const entry = {
    type: 'object',
    properties: { event: { enum: ['message', 'event', 'notice'] }, data: { type: 'object' } },
    required: ['event', 'data'],
    additionalProperties: false
  }
  return {
    operationId: 'poll',
    tags: ['stream'],
    summary: 'the same in answers: at once when there is something, else when there is or `wait` is over',
    parameters: [
      after,
      { name: 'wait', in: 'query', required: false, description: 'Seconds; the server may wait less.', schema: { type: 'integer', minimum: 0, maximum: 86_400, default: 0 } },
      { name: 'limit', in: 'query', required: false, schema: { type: 'integer', minimum: 1, maximum: 500, default: 100 } }
    ],
    responses: {
      200: {
        description: '`more`: ask again at once. `reset`: what came meanwhile is to be asked for (`sync`).',
        content: {
          'application/json': {
            schema: {
              type: 'object',
              properties: { id: { type: 'string' }, more: { type: 'boolean' }, reset: { const: true }, entries: { type: 'array', items: entry, maxItems: 500 } },
              required: ['id', 'more', 'entries'],
              additionalProperties: false
            },
            examples: { one: { value: { id: example, more: false, entries: [{ event: 'message', data: message }] } } }
          }
        }
      },
      ...problems
    }
  }
}
