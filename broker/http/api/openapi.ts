/** The API as OpenAPI 3.1, made from the table. */
import { z } from 'zod'
import { codes } from '../../errors.ts'
import { idPattern } from '../../topics.ts'
import type { Routes } from '../app.ts'
import { problemType } from '../problem.ts'
import { polling, streaming } from './openapi-streams.ts'
import { takesBody, tableRoutes, type ApiRoute } from './route.ts'

type Json = Record<string, unknown>
interface ObjectSchema { properties: Record<string, Json>, required: string[], needed: string[], instead: string[] }

/** Names of a conversation beside `conv`: where the path has that they say nothing. */
const otherNames = ['with', 'gid', 'group']

/** `GET /openapi.json`, for everybody. */
export function openApiRoutes (version: string): Routes {
  let text: string | undefined
  return app => {
    app.get('/openapi.json', (_request, reply) => {
      text ??= JSON.stringify(openApi(version))
      reply.type('application/json').send(Buffer.from(text))
    })
  }
}

export function openApi (version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of tableRoutes()) (paths[route.path] ??= {})[route.method.toLowerCase()] = operationOf(route)
  for (const [path, name, to] of [['/v1/to/u/{id}', 'sendToUser', 'user'], ['/v1/to/g/{id}', 'sendToGroup', 'group']] as const) paths[path] = { post: sending(name, to) }
  paths['/v1/stream'] = { get: streaming() }
  paths['/v1/poll'] = { get: polling() }
  return {
    openapi: '3.1.0',
    info: { title: 'Sabethes', version, description: 'What a user may ask over MQTT, over HTTP.', license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/' }],
    security: [{ basic: [] }, { bearer: [] }],
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => a < b ? -1 : 1)),
    components: {
      securitySchemes: { basic: { type: 'http', scheme: 'basic' }, bearer: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: problem(), Receipt: receipt() },
      responses: { Problem: { description: 'Refused, or failed: `code` says why.', headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } }, content: { [problemType]: { schema: { $ref: '#/components/schemas/Problem' } } } } }
    }
  }
}

function operationOf (route: ApiRoute): Json {
  const { operation: { name, text, http = [] }, method, named, asked } = route
  const schema = paramsOf(route)
  const inPath = named.map(param => ({ name: param, in: 'path', required: true, schema: schema.properties[param] ?? { type: 'string' } }))
  const inQuery = asked.filter(param => param in schema.properties).map(param => ({ name: param, in: 'query', required: schema.required.includes(param), schema: schema.properties[param] }))
  const parameters = [...inPath, ...inQuery]
  return {
    operationId: http.length > 1 ? [name, method.toLowerCase(), ...named].join('.') : name,
    tags: [name.split('.')[0]],
    summary: text,
    ...parameters.length > 0 && { parameters },
    ...takesBody(route) && { requestBody: bodyOf(route, schema) },
    responses: { ...resultOf(route), default: { $ref: '#/components/responses/Problem' } }
  }
}

function resultOf ({ operation }: ApiRoute): Json {
  if (operation.kind === 'verb') return { 204: { description: 'It is done.' } }
  return { 200: { description: 'The result.', content: { 'application/json': { schema: jsonSchema(operation.result, 'output') } } } }
}

/** The parameters that the route has; those that the path names are in it. */
function paramsOf ({ operation, named }: ApiRoute): ObjectSchema {
  const { properties = {}, required = [], needed = [], instead = [] } = jsonSchema(operation.params, 'input') as Partial<ObjectSchema>
  const hidden = new Set(['gzip', ...named.includes('conv') || operation.kind === 'verb' ? otherNames : []])
  const known = Object.fromEntries(Object.entries(properties).filter(([name]) => !hidden.has(name) || named.includes(name)))
  const isLeft = (name: string): boolean => name in known && !named.includes(name)
  return { properties: known, required: required.filter(name => name in known), needed: needed.filter(isLeft), instead: instead.filter(isLeft) }
}

function bodyOf ({ operation, named }: ApiRoute, { properties, required, needed, instead }: ObjectSchema): Json {
  const rest = Object.entries(properties).filter(([name]) => !named.includes(name))
  const must = required.filter(name => !named.includes(name))
  const choices = needed.length > 0 ? { anyOf: [...needed, ...instead].map(name => ({ required: [name], properties: { [name]: { not: { type: 'null' } } } })) } : {}
  const object = { type: 'object', properties: Object.fromEntries(rest.map(([name, schema]) => [name, must.includes(name) ? schema : orNull(schema)])), ...must.length > 0 && { required: must }, ...choices }
  const [short] = operation.kind === 'verb' ? rest : []
  const schema = short === undefined ? object : { anyOf: [object, short[1]] }
  return { required: must.length > 0 || needed.length > 0, content: { 'application/json': { schema } } }
}

/** What is `null` counts as not given. */
function orNull (schema: Json): Json {
  const { type, enum: values } = schema
  return { ...schema, ...type !== undefined && { type: [type, 'null'] }, ...Array.isArray(values) && { enum: [...values as unknown[], null] } }
}

function sending (operationId: string, to: string): Json {
  const stored = (description: string): Json => ({ description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Receipt' } } } })
  return {
    operationId,
    tags: ['to'],
    summary: `a message to a ${to}; the body is a payload as it is published over MQTT`,
    parameters: [
      { name: 'id', in: 'path', required: true, schema: { type: 'string', pattern: idPattern.source } },
      { name: 'expirySeconds', in: 'query', required: false, schema: { type: 'integer', minimum: 0, maximum: 4_294_967_295 } },
      { name: 'Idempotency-Key', in: 'header', required: false, description: 'The `cid`: sending again with the same one is harmless.', schema: { type: 'string', minLength: 1, maxLength: 64, pattern: '^[\\x20-\\x7e]*$' } }
    ],
    requestBody: {
      required: true,
      content: {
        'text/plain': { schema: { type: 'string', minLength: 1 } },
        'application/json': { schema: { description: 'An envelope (an object with `body` and, as wanted, `cid`, `type`, `replyTo`, `mentions`, `meta`), or any other value.' } },
        'application/octet-stream': {}
      }
    },
    responses: { 201: stored('It is stored.'), 200: stored('It was stored before.'), default: { $ref: '#/components/responses/Problem' } }
  }
}

function receipt (): Json {
  return { type: 'object', properties: { id: { type: 'string' }, seq: { type: 'integer', minimum: 1 }, ts: { type: 'number' }, conv: { type: 'string' }, cid: { type: 'string' } }, required: ['id', 'seq', 'ts', 'conv', 'cid'], additionalProperties: false }
}

function problem (): Json {
  return {
    type: 'object',
    properties: { type: { const: 'about:blank' }, title: { type: 'string' }, status: { type: 'integer' }, code: { enum: [...Object.keys(codes), 'method_not_allowed'] }, detail: { type: 'string' }, retryAfterMs: { type: 'number', minimum: 0 } },
    required: ['type', 'title', 'status', 'code', 'detail'],
    additionalProperties: false
  }
}

function jsonSchema (schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { unrepresentable: 'any', io })
  return json
}
