/** The table of operations: each entry says all that is to be known of it, and does what it says. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { z } from 'zod'
import { configKeys } from '../../broker/config/keys.ts'
import { requests, verbs } from '../../broker/operations.ts'
import type { Operation } from '../../broker/operations/operation.ts'
import { request, verb } from '../../broker/operations/operation.ts'
import type { Rules } from '../../broker/operations/rules.ts'
import { type Bench, bench } from '../support/control-host.ts'
import { openBench } from '../support/engine-bench.ts'
import { conv, done, examples, said } from '../support/operation-examples.ts'
import { packageRoot } from '../support/package-root.ts'

type Params = Record<string, unknown>

async function filled (t: Parameters<typeof bench>[0], mode: 'dev' | 'password' = 'dev'): Promise<Bench> {
  const b = await bench(t, { mode, setup: { version: '1.2.3' } })
  for (const uid of mode === 'password' ? ['bob', 'zoe', 'mallory'] : []) await b.store.putUser({ uid, createdAt: 1 })
  if (mode === 'password') await b.control.accounts.users.add('alice', 'a secret')
  for (const { from, to, text } of said) await b.send(from, { user: to }, text)
  for (const { by, method, params } of done) await b.ask(by, method, params)
  return b
}

const oneAtATime = configKeys.find(key => key.path === 'requests.concurrencyPerUser')?.description ?? ''
const all: readonly Operation[] = [...requests.values(), ...verbs.values()]

await t.test('every entry has a schema, a permission, a rate class and its documentation', async t => {
  t.ok(requests.size > 20 && verbs.has('read'))
  for (const operation of all) {
    const { name, params, permission, rate, text } = operation
    t.match(name, /^[a-z]+(\.[a-z]+)?$/)
    t.match(text, /^[^|\n]{8,}[^.|\n]$/, `${name} says what it does`)
    t.ok(['user', 'operator'].includes(permission), `${name}: who may`)
    t.ok(['plain', 'heavy'].includes(rate), `${name}: how much it counts for`)
    t.ok(params instanceof z.ZodObject, `${name}: parameters`)
    if (operation.kind === 'verb') {
      t.match(operation.payload, /^`.+`$/, `${name}: payload`)
      continue
    }
    t.ok(operation.result instanceof z.ZodObject && operation.result.safeParse({ more: 'than documented' }).success === false, `${name}: result`)
    t.type(operation.query, 'boolean')
    // What the configuration says of those that are served one at a time.
    if (rate === 'heavy') t.ok(operation.long, `${name}: one at a time`)
    else if (operation.long) t.match(oneAtATime, name)
  }
})

await t.test('what is described can be described to others: JSON Schema, each parameter with its type', async t => {
  for (const { name, params } of all) {
    const { properties = {} } = z.toJSONSchema(params, { unrepresentable: 'any', io: 'input' })
    t.same(Object.keys(properties), Object.keys(params.shape), name)
    for (const [param, schema] of Object.entries(properties)) t.type((schema as { type?: unknown }).type, 'string', `${name}: ${param}`)
  }
})

await t.test('a file is in the table when it is in the list', async t => {
  const folder = new URL('broker/operations/', packageRoot)
  const list = readFileSync(new URL('list.ts', folder), 'utf8')
  const described = (file: string): number => (readFileSync(new URL(file, folder), 'utf8').match(/^export const \w+ = (request|verb)\(\{$/gm) ?? []).length
  const files = readdirSync(folder, { encoding: 'utf8' }).filter(file => described(file) > 0)
  t.equal(files.reduce((sum, file) => sum + described(file), 0), all.length)
  for (const file of files) t.ok(list.includes(`export * from './${file}'\n`), file)
})

await t.test('every request answers as it says, and refuses what is wrong', async t => {
  t.same(Object.keys(examples).sort(), [...requests.keys()].sort(), 'each has an example')
  for (const [name, { good, mode, result, bad, refusal: [code, parameter] }] of Object.entries(examples)) {
    await t.test(name, async t => {
      const b = await filled(t, mode)
      const forOperator = requests.get(name)?.permission === 'operator'
      if (forOperator) for (const params of [good as Params, bad]) await t.rejects(b.ask('alice', name, params), { code: 'forbidden' }, 'nobody else may')
      const ask = (params: Params): Promise<unknown> => forOperator ? b.operate(name, params) : b.ask('alice', name, params)
      if (code === '') t.same(Object.keys(requests.get(name)?.params.shape ?? {}), [], 'there is nothing to be wrong')
      else await t.rejects(ask(bad), { code, message: new RegExp(`^${parameter}: `) })
      t.match(await ask({ ...typeof good === 'function' ? await good(b) : good, unknown: 1, rid: '1' }), result)
    })
  }
})

await t.test('null is as nothing, and the first wrong parameter is named', async t => {
  const b = await filled(t)
  t.match(await b.ask('alice', 'messages.history', { conv, before: null, limit: null }), { head: 3 })
  await t.rejects(b.ask('alice', 'messages.history', { conv: null }), { code: 'bad_payload', message: /^conv: is missing/ })
  await t.rejects(b.ask('alice', 'messages.reads', { limit: 0, seq: 'x' }), { message: /^conv: is missing/ })
  await t.rejects(b.ask('alice', 'messages.reads', { limit: 0, seq: 'x', conv }), { message: /^seq: must be a whole number from 0 / })
  await t.rejects(b.ask('alice', 'messages.delete', { seqs: [] }), { message: /^conv: is missing/ })
})

await t.test('how much is said of what is wrong does not grow with it', async t => {
  const keys = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`key${i}`, i]))
  const list = Array.from({ length: 3000 }, () => ({}))
  for (const { name, params } of all) {
    const names = Object.keys(params.shape)
    for (const value of [keys, list, 'x'.repeat(10_000), -1]) {
      const { error } = params.safeParse(Object.fromEntries(names.map(param => [param, value])))
      t.ok((error?.issues.length ?? 0) <= 3 * names.length, `${name}: ${typeof value}`)
      for (const { message } of error?.issues ?? []) t.ok(message.length < 120, message)
    }
  }
})

await t.test('what is for the operator is refused to users, before it is looked at', async t => {
  const operation = request({
    name: 'server.stop',
    text: 'ends the server',
    permission: 'operator',
    rate: 'plain',
    query: false,
    params: () => z.object({ now: z.boolean('must be true or false') }),
    result: () => z.strictObject({}),
    run: async () => ({})
  })
  const rules = {} as unknown as Rules
  await t.rejects(operation.run(rules, { user: 'bob', session: 'bob/x' }, {}), { code: 'forbidden' })
  await t.rejects(operation.run(rules, { user: 'bob', session: 'bob/x', operator: true }, {}), { code: 'bad_payload', message: /^now: / })
  t.same(await operation.run(rules, { user: 'bob', session: 'bob/x', operator: true }, { now: true }), {})
})

await t.test('a verb is judged as a request is', async t => {
  const asked: unknown[] = []
  const typing = verb({
    name: 'typing',
    text: 'you are writing to this user',
    permission: 'user',
    rate: 'plain',
    payload: '`true` or `{"on":true}`',
    params: () => z.object({ on: z.boolean('must be true or false'), device: z.string().optional() }),
    short: 'on',
    run: async (_rules, { user }, target, params) => { asked.push({ user, target, params }) }
  })
  const rules = {} as unknown as Rules
  const bob = { user: 'bob', session: 'bob/x' }
  const alice = { kind: 'user', id: 'alice' } as const
  await typing.run(rules, bob, alice, true)
  await typing.run(rules, bob, alice, { on: false, device: 'phone', more: 1 })
  t.same(asked, [{ user: 'bob', target: alice, params: { on: true } }, { user: 'bob', target: alice, params: { on: false, device: 'phone' } }])
  for (const bad of [undefined, null, 1, 'true', [true], {}]) {
    await t.rejects(typing.run(rules, bob, alice, bad), { code: 'bad_payload', message: /^on: .*; the payload is true or \{"on":true\}$/ }, JSON.stringify(bad))
  }
  t.equal(asked.length, 2)
})

await t.test('verbs: a number or an object; others, and verbs that there are not, are refused', async t => {
  const b = await openBench(t)
  await b.verdict(b.send('alice', 'im/to/u/bob', 'one'))
  const say = async (verb: string, payload: string) => await b.verdict(b.send('bob', `im/to/u/alice/${verb}`, payload))
  for (const good of ['1', '{"seq":1}', '{"seq":1,"more":2}']) t.match(await say('read', good), { ok: true }, good)
  for (const bad of ['', 'x', '0', '-1', '1.5', '1e999', '[1]', '{}', '{"seq":"1"}', '{"seq":null}', 'null', '"1"']) {
    t.match(await say('read', bad), { ok: false, code: 'bad_payload', reason: /^seq: .*; the payload is 42 or \{"seq":42\}$/ }, bad)
  }
  t.match(await say('unknown', '1'), { ok: false, code: 'not_found', reason: "no such verb: 'unknown'" })
  t.match(await say('constructor', '1'), { ok: false, code: 'not_found' })
  t.match(await b.verdict(b.send('bob', 'im/rpc/constructor', '{"rid":"1"}')), { ok: true, rid: '1' })
  t.match(await b.verdict(b.send('carol', 'im/to/u/bob/read', '1')), { ok: false, code: 'not_found' })
})
