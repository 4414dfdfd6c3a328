/** /asyncapi.json: it is AsyncAPI 3.0, has every topic and request, and what the server sends is as it says. */
import specifications from '@asyncapi/specs'
import { Ajv, type ValidateFunction } from 'ajv'
import t from 'tap'
import { asyncApi } from '../../broker/http/api/asyncapi.ts'
import { requests, verbs } from '../../broker/operations.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'

interface Document { channels: Record<string, { address: string | null, messages: Record<string, { payload?: object, $ref?: string }> }>, operations: Record<string, { channel: { $ref: string }, messages?: Array<{ $ref: string }>, reply?: { channel: { $ref: string }, messages: Array<{ $ref: string }> } }>, components: { messages: Record<string, { payload: object }> } }
const document = asyncApi('1.2.3', 'im') as unknown as Document

await t.test('it is valid', t => {
  const validate = new Ajv({ strict: false, validateFormats: false, logger: false }).compile(specifications.schemasWithoutId['3.0.0'] as object)
  t.ok(validate(document), JSON.stringify(validate.errors?.slice(0, 5)))
  const broken = structuredClone(document)
  broken.operations['groups_create'] = { ...broken.operations['groups_create'], action: 'ask' } as never
  t.notOk(validate(broken), 'and what is wrong would not be')
  t.end()
})

await t.test('every topic and request is in it, and what it refers to', t => {
  const addresses = new Set(Object.values(document.channels).map(({ address }) => address))
  for (const name of requests.keys()) t.ok(addresses.has(`im/rpc/${name}`), name)
  for (const name of verbs.keys()) t.ok(addresses.has(`im/to/u/{id}/${name}`) && addresses.has(`im/to/g/{id}/${name}`), name)
  for (const address of ['im/u/{user}/inbox', 'im/g/{gid}', 'im/u/{user}/event', 'im/u/{user}/notice', 'im/server', 'im/to/u/{id}', 'im/to/g/{id}']) t.ok(addresses.has(address), address)
  const found = (ref: string): unknown => ref.slice(2).split('/').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document)
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref)
  for (const ref of new Set(refs)) t.ok(found(ref) !== undefined, ref)
  t.ok(refs.length > 100)
  t.end()
})

await t.test('what the server sends is as it says', async t => {
  const server = await startServer(t)
  const answer = await fetch(`http://127.0.0.1:${server.httpPort}/asyncapi.json`)
  t.equal(answer.headers.get('content-type'), 'application/json')
  const served = await answer.json() as Document
  t.match(served, { asyncapi: '3.0.0', channels: { inbox: { address: 'im/u/{user}/inbox' } } })
  const ajv = new Ajv({ strict: false, validateFormats: false, logger: false })
  const judge = (payload: object): ValidateFunction => ajv.compile({ ...payload, components: served.components })
  const is = (payload: object | undefined, value: unknown, what: string): void => {
    const validate = judge(payload ?? {})
    t.ok(payload !== undefined && validate(value), `${what}: ${JSON.stringify(validate.errors)} ${JSON.stringify(value)}`)
  }
  const { envelope, event, notice, server: description } = served.components.messages
  const [alice, bob] = [await device(t, server.url, 'alice'), await device(t, server.url, 'bob')]
  for (const { user, subscribe } of [alice, bob].map(one => ({ user: one.user, subscribe: (topics: string[]) => one.subscribe(topics) }))) await subscribe([`im/u/${user}/inbox`, `im/u/${user}/event`])
  await alice.publish('im/to/u/bob', JSON.stringify({ cid: 'c-1', body: { a: 1 }, mentions: ['bob'], meta: {} }))
  is(envelope?.payload, await bob.nextJson('im/u/bob/inbox'), 'a message')
  is(event?.payload, await alice.nextJson('im/u/alice/event'), 'a receipt')
  await alice.publish('im/to/g/nowhere', 'x')
  is(notice?.payload, await alice.nextJson('im/u/alice/notice'), 'a notice')
  await alice.result('groups.create', { gid: 'dev', members: ['bob'] })
  is(event?.payload, await bob.nextJson('im/u/bob/event'), 'a membership')
  await bob.subscribe(['im/server'])
  is(description?.payload, await bob.nextJson('im/server'), 'the server')
  for (const [name, params] of [['conversations.list', {}], ['groups.info', { gid: 'dev' }], ['groups.info', { gid: 'none' }], ['messages.history', { with: 'alice' }], ['unread', {}]] as const) {
    is(served.channels[`${name.replaceAll('.', '_')}_answer`]?.messages['answer']?.payload, await bob.ask(name, params), name)
  }
})
