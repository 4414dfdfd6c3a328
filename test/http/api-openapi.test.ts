/** /openapi.json: it is OpenAPI 3.1, has every route, and says of each what the table says. */
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { openApi } from '../../broker/http/api/openapi.ts'
import { requests, verbs } from '../../broker/operations.ts'
import { startServer } from '../support/server.ts'

interface Parameter { name: string, in: string, required: boolean, schema: Record<string, unknown> }
interface Described { operationId: string, parameters?: Parameter[], requestBody?: { required: boolean, content: Record<string, { schema: { properties?: object, required?: string[], anyOf?: unknown[] } }> }, responses: Record<string, object> }
interface Document { openapi: string, paths: Record<string, Record<string, Described>> }

const document = openApi('1.2.3') as unknown as Document
const all = Object.entries(document.paths).flatMap(([path, item]) => Object.entries(item).map(([method, described]) => ({ path, method, described })))

await t.test('it is valid', async t => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(openApi('1.2.3'))
  t.ok(valid, JSON.stringify(errors))
  t.equal(validator.version, '3.1')
  const broken = structuredClone(document) as unknown as { paths: Record<string, unknown> }
  broken.paths['/v1/unread'] = { get: { responses: 7 } }
  t.notOk((await new Validator().validate(broken)).valid, 'and what is wrong would not be')
})

await t.test('every route is in it, once', t => {
  const routes = [...requests.values(), ...verbs.values()].flatMap(({ http = [] }) => http)
  t.strictSame(all.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort(), [...routes, 'POST /v1/to/u/{id}', 'POST /v1/to/g/{id}', 'GET /v1/stream', 'GET /v1/poll'].sort())
  t.equal(new Set(all.map(({ described }) => described.operationId)).size, all.length)
  for (const { path, described } of all) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    t.strictSame((described.parameters ?? []).filter(one => one.in === 'path').map(({ name }) => name), named, path)
    t.ok('default' in described.responses && Object.keys(described.responses).length > 1, path)
    for (const { name, schema } of described.parameters ?? []) t.type(schema.type, 'string', `${path} ${name}`)
  }
  t.notMatch(JSON.stringify(document), /\$schema|"gzip"/)
  t.end()
})

await t.test('parameters are where they are taken', t => {
  const of = (method: string, path: string): Described => document.paths[path]?.[method] as Described
  t.strictSame(of('get', '/v1/conversations/{conv}/messages').parameters?.map(({ name, required }) => [name, required]), [['conv', true], ['before', false], ['after', false], ['limit', false]])
  t.match(of('post', '/v1/groups/{gid}/members').requestBody, { required: true, content: { 'application/json': { schema: { properties: { users: {}, members: {} }, anyOf: [{ required: ['users'] }, { required: ['members'] }] } } } })
  t.match(of('put', '/v1/groups/{gid}/members/{user}/role').requestBody?.content['application/json']?.schema, { properties: { role: { enum: ['owner', 'admin', 'member'] } }, required: ['role'] })
  t.strictSame(Object.keys(of('post', '/v1/sync').requestBody?.content['application/json']?.schema.properties ?? {}), ['convs', 'limit'])
  t.equal(of('get', '/v1/consent').parameters, undefined)
  t.end()
})

await t.test('it is served to everybody', async t => {
  const server = await startServer(t)
  const answer = await fetch(`http://127.0.0.1:${server.httpPort}/openapi.json`)
  t.equal(answer.headers.get('content-type'), 'application/json')
  t.match(await answer.json(), { openapi: '3.1.0', paths: { '/v1/to/u/{id}': { post: {} } } })
})
