/** Contacts: how two become contacts, what each side hears, and from whom somebody takes messages. */
import t from 'tap'
import { z } from 'zod'
import type { Plugin } from '../../broker/plugin-api.ts'
import { loadedPlugin, openBench } from '../support/engine-bench.ts'
import { until } from '../support/mailbox.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { bench, type Bench } from '../support/control-host.ts'

const contactEvents = async (b: Bench, user: string): Promise<Array<Record<string, unknown>>> => (await b.events(user)).filter(({ kind }) => kind === 'contact')
async function rowsOf (b: Bench): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of b.store.records.range('contacts/', 'contacts0')) keys.push(key)
  return keys
}
async function befriend (b: Bench, user: string, other: string): Promise<void> {
  await b.ask(user, 'contacts.request', { user: other })
  await b.ask(other, 'contacts.accept', { user })
}
const namesOf = async (b: Bench, user: string): Promise<string[]> => ((await b.ask(user, 'contacts.list')) as { contacts: Array<{ user: string }> }).contacts.map(one => one.user)

await t.test('asked, accepted, removed: both hear of it, and nothing is left', async t => {
  const b = await bench(t)
  const { ms } = b.clock
  t.same(await b.ask('alice', 'contacts.request', { user: 'bob', text: 'we met' }), { user: 'bob', state: 'asked' })
  t.same(await contactEvents(b, 'bob'), [{ kind: 'contact', action: 'request', user: 'alice', state: 'asks', by: 'alice', ts: ms, text: 'we met' }])
  t.same(await contactEvents(b, 'alice'), [{ kind: 'contact', action: 'request', user: 'bob', state: 'asked', by: 'alice', ts: ms, text: 'we met' }], 'other devices, too')
  t.same(await b.ask('bob', 'contacts.requests'), { received: [{ user: 'alice', ts: ms, text: 'we met' }], sent: [] })
  t.same(await b.ask('alice', 'contacts.requests'), { received: [], sent: [{ user: 'bob', ts: ms, text: 'we met' }] })
  t.same(await b.ask('bob', 'contacts.accept', { user: 'alice' }), { user: 'alice', state: 'contact' })
  for (const [user, other] of [['alice', 'bob'], ['bob', 'alice']] as const) {
    t.match(await contactEvents(b, user), [{ action: 'accept', user: other, state: 'contact', by: 'bob' }], 'the newest replaces the older')
    t.equal((await contactEvents(b, user)).length, 1)
    t.same(await b.ask(user, 'contacts.list'), { contacts: [{ user: other, since: ms }] })
    t.same(await b.ask(user, 'contacts.requests'), { received: [], sent: [] })
  }
  t.same(await rowsOf(b), ['contacts/of/alice/bob', 'contacts/of/bob/alice'])
  await b.ask('alice', 'contacts.remove', { user: 'bob' })
  for (const user of ['alice', 'bob']) t.match(await contactEvents(b, user), [{ action: 'remove', state: 'none', by: 'alice' }])
  t.same(await rowsOf(b), [])
})

await t.test('refused, and taken back', async t => {
  const b = await bench(t)
  await b.ask('alice', 'contacts.request', { user: 'bob' })
  t.same(await b.ask('bob', 'contacts.refuse', { user: 'alice' }), { user: 'alice', state: 'none' })
  for (const user of ['alice', 'bob']) t.match(await contactEvents(b, user), [{ action: 'refuse', state: 'none', by: 'bob' }])
  t.same(await rowsOf(b), [])
  await b.ask('alice', 'contacts.request', { user: 'bob' })
  await b.ask('alice', 'contacts.remove', { user: 'bob' })
  for (const user of ['alice', 'bob']) t.match(await contactEvents(b, user), [{ action: 'cancel', state: 'none', by: 'alice' }])
  t.same(await rowsOf(b), [])
  await t.rejects(b.ask('bob', 'contacts.accept', { user: 'alice' }), { code: 'not_found' })
})

await t.test('asking again does nothing', async t => {
  const b = await bench(t)
  const eseq = async (user: string): Promise<number> => (await b.store.eventHead(user)).seq
  const twice = async (user: string, method: string, other: string): Promise<void> => {
    const first: unknown = await b.ask(user, method, { user: other })
    const seqs = [await eseq('alice'), await eseq('bob')]
    t.same(await b.ask(user, method, { user: other }), first, method)
    t.same([await eseq('alice'), await eseq('bob')], seqs, `${method}: nobody hears of it again`)
  }
  await twice('alice', 'contacts.request', 'bob')
  await twice('bob', 'contacts.accept', 'alice')
  t.same(await b.ask('alice', 'contacts.request', { user: 'bob' }), { user: 'bob', state: 'contact' })
  await twice('bob', 'contacts.remove', 'alice')
  await b.ask('alice', 'contacts.request', { user: 'bob' })
  await twice('bob', 'contacts.refuse', 'alice')
})

await t.test('who asks the one that has asked them accepts, also when both ask at once', async t => {
  const b = await bench(t)
  await b.ask('alice', 'contacts.request', { user: 'bob' })
  t.same(await b.ask('bob', 'contacts.request', { user: 'alice' }), { user: 'alice', state: 'contact' })
  const states = await Promise.all([b.ask('carol', 'contacts.request', { user: 'dora' }), b.ask('dora', 'contacts.request', { user: 'carol' })]) as Array<{ state: string }>
  t.same(states.map(({ state }) => state).sort(), ['asked', 'contact'])
  t.same([await namesOf(b, 'carol'), await namesOf(b, 'dora')], [['dora'], ['carol']])
  t.notOk((await rowsOf(b)).some(key => !key.startsWith('contacts/of/')), 'no request is left')
})

await t.test('what is refused', async t => {
  const b = await bench(t, { mode: 'password' })
  for (const uid of ['alice', 'bob', 'eve']) await b.store.putUser({ uid, createdAt: 1 })
  await t.rejects(b.ask('alice', 'contacts.request', { user: 'alice' }), { code: 'bad_payload' })
  await t.rejects(b.ask('alice', 'contacts.request', { user: 'nobody' }), { code: 'not_found' })
  await b.ask('bob', 'blocks.add', { user: 'eve' })
  await t.rejects(b.ask('eve', 'contacts.request', { user: 'bob' }), { code: 'blocked' })
  await b.ask('bob', 'contacts.mode', { mode: 'nobody' })
  await t.rejects(b.ask('alice', 'contacts.request', { user: 'bob' }), { code: 'forbidden' }, 'nobody new')
  t.same(await b.ask('bob', 'contacts.request', { user: 'alice' }), { user: 'alice', state: 'asked' }, 'they may ask others themselves')
  t.same(await b.ask('alice', 'contacts.request', { user: 'bob' }), { user: 'bob', state: 'contact' })
  await t.rejects(b.ask('alice', 'contacts.set', { user: 'eve', remark: 'x' }), { code: 'not_found' })
  t.same(await b.ask('bob', 'contacts.mode', { mode: 'default' }), { mode: 'everybody' })
})

await t.test('bounds: contacts, requests made, requests that wait', async t => {
  const b = await bench(t, { limits: { maxContacts: 2, maxContactRequests: 2, maxContactRequestsMade: 3 } })
  for (const other of ['a', 'b', 'c']) await b.ask('alice', 'contacts.request', { user: other })
  await t.rejects(b.ask('alice', 'contacts.request', { user: 'd' }), { code: 'too_large', message: /^at most 3 requests/ })
  t.same(await b.ask('alice', 'contacts.request', { user: 'a' }), { user: 'a', state: 'asked' }, 'one that is open is one')
  await b.ask('a', 'contacts.refuse', { user: 'alice' })
  await b.ask('alice', 'contacts.request', { user: 'd' })
  for (const user of ['x', 'y']) await b.ask(user, 'contacts.request', { user: 'zoe' })
  await t.rejects(b.ask('z', 'contacts.request', { user: 'zoe' }), { code: 'too_large', message: /wait for 'zoe'/ })
  for (const user of ['b', 'c']) await b.ask(user, 'contacts.accept', { user: 'alice' })
  await t.rejects(b.ask('d', 'contacts.accept', { user: 'alice' }), { code: 'too_large', message: /^'alice' has/ })
  await t.rejects(b.ask('alice', 'contacts.request', { user: 'e' }), { code: 'too_large', message: /^you have 2 contacts/ })
  await b.ask('b', 'contacts.remove', { user: 'alice' })
  t.same(await b.ask('d', 'contacts.accept', { user: 'alice' }), { user: 'alice', state: 'contact' })
})

await t.test('remarks and groups are for oneself, in pages', async t => {
  const b = await bench(t, { limits: { maxContacts: 20 } })
  for (let i = 10; i < 20; i++) await befriend(b, 'alice', `u${i}`)
  t.match(await b.ask('alice', 'contacts.set', { user: 'u10', remark: 'Ten', groups: ['work', 'home', 'work'] }), { user: 'u10', remark: 'Ten', groups: ['work', 'home'] })
  t.match((await contactEvents(b, 'alice')).at(-1), { action: 'set', user: 'u10', state: 'contact', remark: 'Ten', groups: ['work', 'home'] })
  t.match(await contactEvents(b, 'u10'), [{ action: 'accept' }], 'the other one hears nothing')
  await b.ask('alice', 'contacts.set', { user: 'u15', groups: ['home'] })
  t.same((await b.ask('alice', 'contacts.list', { group: 'home', limit: 1 }) as { next: string }).next, 'u10')
  t.match(await b.ask('alice', 'contacts.list', { group: 'home', limit: 1, after: 'u10' }), { contacts: [{ user: 'u15' }], next: undefined })
  const names: string[] = []
  for (let after: string | undefined, pages = 0; pages < 9; pages++) {
    const page = await b.ask('alice', 'contacts.list', { limit: 3, ...after !== undefined && { after } }) as { contacts: Array<{ user: string }>, next?: string }
    names.push(...page.contacts.map(({ user }) => user))
    after = page.next
    if (after === undefined) break
  }
  t.same(names, Array.from({ length: 10 }, (_, i) => `u${10 + i}`))
  t.match(await b.ask('alice', 'contacts.set', { user: 'u10', remark: '', groups: [] }), { remark: undefined, groups: undefined })
  await t.rejects(b.ask('alice', 'contacts.set', { user: 'u10', groups: Array.from({ length: 17 }, (_, i) => `g${i}`) }), { code: 'too_large' })
  await t.rejects(b.ask('alice', 'contacts.set', { user: 'u10', remark: 'a\nb' }), { code: 'bad_payload' })
})

await t.test('a step that was cut off is finished by asking again', async t => {
  for (const [user, method, state] of [['alice', 'contacts.request', 'asked'], ['bob', 'contacts.accept', 'contact'], ['bob', 'contacts.refuse', 'none'], ['alice', 'contacts.remove', 'none']] as const) {
    for (let fail = 1; fail <= 3; fail++) {
      const b = await bench(t, { path: t.testdir() + `/${method}${fail}` })
      const other = user === 'alice' ? 'bob' : 'alice'
      if (method !== 'contacts.request') await b.ask('alice', 'contacts.request', { user: 'bob' })
      if (method === 'contacts.remove') await b.ask('bob', 'contacts.accept', { user: 'alice' })
      const { write } = b.store.records
      const { commit } = b.host
      let calls = 0
      const failing = <Args extends unknown[], Result>(run: (...args: Args) => Promise<Result>) => async (...args: Args): Promise<Result> => {
        if (++calls === fail) throw new Error('cut off')
        return await run(...args)
      }
      Object.assign(b.store.records, { write: failing(write.bind(b.store.records)) })
      Object.assign(b.host, { commit: failing(commit) })
      await t.rejects(b.ask(user, method, { user: other }), { message: 'cut off' })
      Object.assign(b.store.records, { write: write.bind(b.store.records) })
      Object.assign(b.host, { commit })
      t.same(await b.ask(user, method, { user: other }), { user: other, state })
      t.match((await contactEvents(b, other)).at(-1), { action: method.slice(9), by: user }, `${method}, step ${fail}: the other one hears of it`)
      const expected = { asked: ['contacts/by/alice/bob', 'contacts/to/bob/alice'], contact: ['contacts/of/alice/bob', 'contacts/of/bob/alice'], none: [] }[state]
      t.same(await rowsOf(b), expected, `${method}, step ${fail}: the rows are whole`)
    }
  }
})

await t.test('what waits at a gate is refused when its receiver takes it no more', async t => {
  const slow: Plugin = { name: 'slow', description: 'lets everybody wait', options: z.unknown(), timeoutMs: 1000, onFailure: 'pass', start: () => ({ onPublish: () => ({ delayMs: 300 }) }) }
  const b = await openBench(t, { plugins: [loadedPlugin(slow)] })
  const ref = b.send('eve', 'im/to/u/bob', 'to whom it may concern')
  await until(() => b.outputs.some(({ kind }) => kind === 'hold'), 5_000, 'it to wait')
  await b.verdict(b.send('bob', 'im/rpc/contacts.mode', JSON.stringify({ rid: 'x', mode: 'contacts' })))
  t.match(await b.verdict(ref), { code: 'forbidden' })
})

await t.test('contacts see more of a profile, and hear of its changes', async t => {
  const b = await bench(t)
  await befriend(b, 'alice', 'bob')
  await b.ask('alice', 'people.set', { nickname: 'Ali', language: 'de' })
  t.match(await b.ask('bob', 'people.get', { user: 'alice' }), { nickname: 'Ali', language: 'de' })
  t.same(await b.ask('eve', 'people.get', { user: 'alice' }), { user: 'alice', nickname: 'Ali' })
  t.match((await b.events('bob')).filter(({ kind }) => kind === 'profile'), [{ user: 'alice', nickname: 'Ali' }])
  const { seq } = await b.store.eventHead('bob')
  await b.ask('alice', 'people.set', { language: 'en' })
  t.equal((await b.store.eventHead('bob')).seq, seq, 'what not everybody sees is told to nobody else')
  await b.ask('alice', 'blocks.add', { user: 'bob' })
  await b.ask('alice', 'people.set', { nickname: 'Al' })
  t.equal((await b.store.eventHead('bob')).seq, seq, 'who is blocked hears nothing')
  await b.ask('alice', 'blocks.remove', { user: 'bob' })
  await b.ask('bob', 'blocks.add', { user: 'alice' })
  await b.ask('alice', 'people.set', { nickname: 'Read this, Bob' })
  t.equal((await b.store.eventHead('bob')).seq, seq, 'and who blocks hears nothing either')
  await b.ask('bob', 'blocks.remove', { user: 'alice' })
  await b.ask('alice', 'people.set', { nickname: 'Ali', visible: 'nobody' })
  t.same(await b.ask('bob', 'people.get', { user: 'alice' }), { user: 'alice', nickname: 'Ali' })
})

await t.test('groups: contacts are known, and who takes messages of contacts alone is put into groups by them alone', async t => {
  const b = await bench(t, { setup: { groupConsent: 'known' } })
  await befriend(b, 'alice', 'bob')
  t.match(await b.ask('alice', 'groups.create', { gid: 'one', members: ['bob', 'carol'] }), { added: ['bob'], invited: ['carol'] })
  await b.ask('carol', 'contacts.mode', { mode: 'contacts' })
  await b.ask('bob', 'contacts.mode', { mode: 'contacts' })
  await b.ask('dora', 'contacts.mode', { mode: 'nobody' })
  await b.ask('dora', 'groups.consent', { consent: 'everybody' })
  t.match(await b.ask('alice', 'groups.create', { gid: 'two', members: ['bob', 'carol', 'dora'] }), { added: ['bob'], invited: [], refused: [{ user: 'carol', code: 'forbidden' }, { user: 'dora', code: 'forbidden' }] })
  await b.ask('bob', 'groups.consent', { consent: 'nobody' })
  t.match(await b.ask('alice', 'groups.create', { gid: 'three', members: ['bob'] }), { refused: [{ user: 'bob', code: 'forbidden' }] }, 'who wants no groups has none')
})

await t.test('with an account its contacts and requests go', async t => {
  const b = await bench(t, { mode: 'password' })
  for (const uid of ['alice', 'bob', 'carol', 'dora']) await b.store.putUser({ uid, createdAt: 1 })
  await befriend(b, 'alice', 'bob')
  await b.ask('alice', 'contacts.request', { user: 'carol' })
  await b.ask('dora', 'contacts.request', { user: 'alice' })
  await b.ask('alice', 'contacts.mode', { mode: 'contacts' })
  await b.control.accounts.users.remove('alice')
  t.same(await rowsOf(b), [])
  for (const user of ['bob', 'carol', 'dora']) t.match((await contactEvents(b, user)).at(-1), { user: 'alice', state: 'none' })
})

await t.test('while nobody has said of whom they take messages, no message asks the store', async t => {
  const level = await openLevelStore({ path: t.testdir() })
  t.teardown(() => level.close())
  let reads = 0
  const { get } = level.records
  Object.assign(level.records, { get: (key: string) => { reads++; return get.call(level.records, key) } })
  const b = await openBench(t, {}, level)
  reads = 0
  for (let i = 0; i < 20; i++) t.match(await b.verdict(b.send('alice', `im/to/u/new${i}`, 'hi')), { ok: true })
  t.equal(reads, 0)
  await b.verdict(b.send('new1', 'im/rpc/contacts.mode', '{"rid":"x","mode":"contacts"}'))
  t.match(await b.verdict(b.send('alice', 'im/to/u/new1', 'hi')), { code: 'forbidden' })
  const again = await openBench(t, {}, level)
  t.match(await again.verdict(again.send('alice', 'im/to/u/new1', 'hi')), { code: 'forbidden' }, 'also after a restart')
  again.engine.remote.forget({ kind: 'all' })
  t.match(await again.verdict(again.send('alice', 'im/to/u/new1', 'hi')), { code: 'forbidden' })
})

await t.test('messages of others are refused, those of contacts are not, and none of them asks the store', async t => {
  const b = await openBench(t)
  const ask = (user: string, method: string, params: object): number => b.send(user, `im/rpc/${method}`, JSON.stringify({ rid: 'x', ...params }))
  const isOk = async (ref: number): Promise<unknown> => { const verdict = await b.verdict(ref); return verdict.ok === true || ('code' in verdict ? verdict.code : verdict.ok) }
  await b.verdict(ask('alice', 'contacts.request', { user: 'bob' }))
  await b.verdict(ask('bob', 'contacts.accept', { user: 'alice' }))
  t.equal(await isOk(b.send('eve', 'im/to/u/bob', 'before')), true)
  await b.verdict(ask('bob', 'contacts.mode', { mode: 'contacts' }))
  t.equal(await isOk(b.send('eve', 'im/to/u/bob', 'after')), 'forbidden')
  t.equal(await isOk(b.send('bob', 'im/to/u/bob', 'a note')), true, 'to oneself')
  t.match(await b.engine.willRefusal({ user: 'eve', target: { kind: 'user', id: 'bob' }, payload: Buffer.from('bye'), utf8: true, contentType: undefined }), /contacts alone/)
  t.equal(await isOk(b.send('alice', 'im/to/u/bob', 'first')), true)
  const { records } = b.level
  const { get } = records
  let reads = 0
  Object.assign(records, { get: (key: string) => { reads++; return get.call(records, key) } })
  for (let i = 0; i < 50; i++) {
    t.equal(await isOk(b.send('alice', 'im/to/u/bob', `m${i}`)), true)
    t.equal(await isOk(b.send('eve', 'im/to/u/bob', `e${i}`)), 'forbidden')
  }
  t.equal(reads, 0)
  await b.verdict(ask('bob', 'contacts.remove', { user: 'alice' }))
  t.equal(await isOk(b.send('alice', 'im/to/u/bob', 'no more')), 'forbidden', 'at once')
  await b.verdict(ask('bob', 'contacts.mode', { mode: 'everybody' }))
  t.equal(await isOk(b.send('eve', 'im/to/u/bob', 'again')), true)
})

await t.test('while nobody has said anything, no message asks the store', async t => {
  const bench = await openBench(t)
  const { records } = bench.level
  const asked: string[] = []
  const get = records.get.bind(records)
  records.get = key => {
    asked.push(key)
    return get(key)
  }
  for (const user of ['bob', 'carol']) t.match(await bench.verdict(bench.send('alice', `im/to/u/${user}`, 'x')), { ok: true })
  t.same(asked, [])
  t.match(await bench.engine.control.rules.contacts.setMode('carol', 'contacts'), 'contacts')
  asked.length = 0
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/carol', 'x')), { code: 'forbidden' })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')), { ok: true })
  t.ok(asked.length > 0)
  const next = await openBench(t, {}, bench.level)
  t.match(await next.verdict(next.send('alice', 'im/to/u/carol', 'x')), { code: 'forbidden' }, 'nor after a restart')
})
