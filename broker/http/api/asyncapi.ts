/** The topics as AsyncAPI 3.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0), made from the table: what a client sends and is sent over MQTT. */
import { z } from 'zod'
import { codes } from '../../errors.ts'
import { requests, verbs } from '../../operations.ts'
import type { RequestOperation } from '../../operations/operation.ts'
import { envelope } from '../../operations/results.ts'
import { idPattern } from '../../topics.ts'
import type { Routes } from '../app.ts'

type Json = Record<string, unknown>

const ref = (path: string): Json => ({ $ref: `#/${path}` })
/** Keys of channels and operations have no dots. */
const keyOf = (name: string): string => name.replaceAll('.', '_')
const idOf = (description: string): Json => ({ description: `${description}: ${idPattern.source.slice(1, -1)}` })
const userId = idOf('A user')
const groupId = idOf('A group')
const json = (name: string, summary: string, payload: Json): Json => ({ name, contentType: 'application/json', summary, payload })
const qos = (level: 0 | 1): Json => ({ mqtt: { qos: level, bindingVersion: '0.2.0' } })

/** `GET /asyncapi.json`, for everybody. */
export function asyncApiRoutes (version: string, prefix: string): Routes {
  let text: string | undefined
  return app => {
    app.get('/asyncapi.json', (_request, reply) => {
      text ??= JSON.stringify(asyncApi(version, prefix))
      reply.type('application/json').send(Buffer.from(text))
    })
  }
}

/** `prefix`: what all topics begin with (`mqtt.prefix`). */
export function asyncApi (version: string, prefix: string): Json {
  const asked = [...requests.values()]
  return {
    asyncapi: '3.0.0',
    info: { title: 'Sabethes', version, description: 'Instant messaging on plain MQTT: what a client publishes and is sent. `user` is who is signed in, where a topic is that user\'s own.', license: { name: 'MIT' } },
    defaultContentType: 'application/json',
    channels: { ...deliveries(prefix), ...sends(prefix), ...Object.fromEntries(asked.flatMap(one => [[keyOf(one.name), requestChannel(prefix, one)], [answersTo(one), answerChannel(one)]])) },
    operations: { ...receiving(), ...sending(), ...Object.fromEntries(asked.map(one => [keyOf(one.name), requestOperation(one)])) },
    components: {
      messages: {
        envelope: json('envelope', 'A message.', jsonSchema(envelope(), 'output')),
        event: json('event', 'A receipt, a change of a membership, of a contact, or of a profile.', eventSchema()),
        notice: json('notice', 'Something was refused, just before its acknowledgement.', noticeSchema()),
        server: json('server', 'What the server is and can do; retained.', { type: 'object' }),
        structured: json('structured', 'A message.', structuredSchema()),
        text: { name: 'text', contentType: 'text/plain', summary: 'Any other UTF-8 is the text itself.', payload: { type: 'string', minLength: 1 } },
        mark: json('mark', 'A read mark: everything up to this number was read.', { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'object', properties: { seq: { type: 'integer', minimum: 1 } }, required: ['seq'] }] })
      },
      schemas: { code: { enum: Object.keys(codes) } }
    }
  }
}

const channel = (address: string, parameters: Json, ...messages: string[]): Json =>
  ({ address, ...Object.keys(parameters).length > 0 && { parameters }, messages: Object.fromEntries(messages.map(name => [name, ref(`components/messages/${name}`)])) })

function deliveries (prefix: string): Json {
  return {
    inbox: channel(`${prefix}/u/{user}/inbox`, { user: userId }, 'envelope'),
    group: channel(`${prefix}/g/{gid}`, { gid: groupId }, 'envelope'),
    events: channel(`${prefix}/u/{user}/event`, { user: userId }, 'event'),
    notices: channel(`${prefix}/u/{user}/notice`, { user: userId }, 'notice'),
    server: channel(`${prefix}/server`, {}, 'server')
  }
}

function sends (prefix: string): Json {
  const marks = Object.fromEntries([...verbs.values()].flatMap(({ name }) => [
    [`${name}_user`, channel(`${prefix}/to/u/{id}/${name}`, { id: userId }, 'mark')],
    [`${name}_group`, channel(`${prefix}/to/g/{id}/${name}`, { id: groupId }, 'mark')]
  ]))
  return {
    to_user: channel(`${prefix}/to/u/{id}`, { id: userId }, 'structured', 'text'),
    to_group: channel(`${prefix}/to/g/{id}`, { id: groupId }, 'structured', 'text'),
    ...marks
  }
}

const operation = (action: 'send' | 'receive', name: string, level: 0 | 1, summary: string): Json => ({ action, channel: ref(`channels/${name}`), summary, bindings: qos(level) })

/** As a client sees it: it is sent these. */
function receiving (): Json {
  return {
    receive_inbox: operation('receive', 'inbox', 1, 'direct messages, and those of groups that are not subscribed to by themselves'),
    receive_group: operation('receive', 'group', 1, 'the messages of a group'),
    receive_events: operation('receive', 'events', 1, 'receipts, memberships, contacts, profiles'),
    receive_notices: operation('receive', 'notices', 0, 'what was refused'),
    receive_server: operation('receive', 'server', 0, 'what the server is')
  }
}

function sending (): Json {
  return {
    send_to_user: operation('send', 'to_user', 1, 'a message to a user; PUBACK: it is stored'),
    send_to_group: operation('send', 'to_group', 1, 'a message to a group; PUBACK: it is stored'),
    ...Object.fromEntries([...verbs.values()].flatMap(({ name, text }) => ['user', 'group'].map(kind => [`${name}_${kind}`, operation('send', `${name}_${kind}`, 1, text)])))
  }
}

const answersTo = ({ name }: RequestOperation): string => `${keyOf(name)}_answer`
const rid = { type: 'string', pattern: idPattern.source, description: 'comes back with the answer' }

function requestChannel (prefix: string, { name, params }: RequestOperation): Json {
  const { required = [], properties = {} } = jsonSchema(params, 'input') as { required?: string[], properties?: Json }
  return {
    address: `${prefix}/rpc/${name}`,
    description: `The answer comes on ${prefix}/u/{user}/rpc/{rid}, or the Response Topic of MQTT 5.`,
    messages: { request: json('request', 'What is asked.', { type: 'object', properties: { rid, ...properties }, required: ['rid', ...required] }) }
  }
}

/** Where it is, the request says. */
function answerChannel ({ result }: RequestOperation): Json {
  const refused = { type: 'object', properties: { rid, ok: { const: false }, code: ref('components/schemas/code'), reason: { type: 'string' }, retryAfterMs: { type: 'number' } }, required: ['rid', 'ok', 'code', 'reason'] }
  const done = { type: 'object', properties: { rid, ok: { const: true }, result: jsonSchema(result, 'output') }, required: ['rid', 'ok', 'result'] }
  return { address: null, messages: { answer: json('answer', 'The result, or a refusal.', { oneOf: [done, refused] }) } }
}

function requestOperation (request: RequestOperation): Json {
  const { name, text } = request
  const [at, answers] = [`channels/${keyOf(name)}`, `channels/${answersTo(request)}`]
  return {
    action: 'send',
    channel: ref(at),
    summary: text,
    messages: [ref(`${at}/messages/request`)],
    reply: { address: { location: '$message.header#/responseTopic', description: 'Before MQTT 5: u/{user}/rpc/{rid} behind the prefix.' }, channel: ref(answers), messages: [ref(`${answers}/messages/answer`)] },
    bindings: qos(1)
  }
}

function eventSchema (): Json {
  const seq = { type: 'integer', minimum: 1 }
  const receipt = { type: 'object', properties: { kind: { enum: ['delivered', 'read'] }, eseq: seq, conv: { type: 'string' }, seq, by: { type: 'string' }, ts: { type: 'number' } }, required: ['kind', 'eseq', 'conv', 'seq', 'by', 'ts'] }
  const group = { type: 'object', properties: { kind: { const: 'group' }, eseq: seq, gid: { type: 'string' }, action: { type: 'string' }, by: { type: 'string' } }, required: ['kind', 'eseq', 'gid', 'action', 'by'] }
  const profile = { type: 'object', properties: { kind: { const: 'profile' }, eseq: seq, user: { type: 'string' }, nickname: { type: 'string' }, avatar: { type: 'string' }, ts: { type: 'number' } }, required: ['kind', 'eseq', 'user', 'ts'] }
  const contact = { type: 'object', properties: { kind: { const: 'contact' }, eseq: seq, action: { enum: ['request', 'accept', 'refuse', 'remove', 'cancel', 'set'] }, user: { type: 'string' }, state: { enum: ['contact', 'asked', 'asks', 'none'] }, by: { type: 'string' }, ts: { type: 'number' } }, required: ['kind', 'eseq', 'action', 'user', 'state', 'by', 'ts'] }
  return { anyOf: [receipt, group, profile, contact] }
}

function noticeSchema (): Json {
  const about = { type: 'object', properties: { topic: { type: 'string' }, cid: { type: 'string' }, mid: { type: 'integer' } }, required: ['topic'] }
  return { type: 'object', properties: { kind: { type: 'string' }, code: ref('components/schemas/code'), reason: { type: 'string' }, ref: about, retryAfterMs: { type: 'number' } }, required: ['kind'] }
}

function structuredSchema (): Json {
  const properties = { cid: { type: 'string', minLength: 1, maxLength: 64, description: 'Sending again with the same one is harmless.' }, type: { type: 'string' }, body: {}, replyTo: { type: ['string', 'number'] }, mentions: { type: 'array', items: { type: 'string' } }, meta: { type: 'object' } }
  return { type: 'object', properties, required: ['body'], additionalProperties: false }
}

function jsonSchema (schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { unrepresentable: 'any', io })
  return rest
}
