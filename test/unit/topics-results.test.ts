/** The results and limits of topics.md against what the server answers. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import { defaultTokens } from '../../broker/engine/people/tokens/tokens.ts'
import { requests } from '../../broker/operations.ts'
import { bench } from '../support/control-host.ts'
import { packageRoot } from '../support/package-root.ts'
import { differences, parseShape, places } from '../support/shape.ts'

const document = readFileSync(new URL('topics.md', packageRoot), 'utf8')

interface Row { method: string, params: string, result: string }

const rows = document.slice(document.indexOf('<!-- methods:')).split('\n\n')[0]?.split('\n').filter(line => line.startsWith('| `')).map((line): Row => {
  // A | within a cell does not occur.
  const [method = '', params = '', result = ''] = line.split('|').slice(1, -1).map(cell => cell.trim())
  return { method: /^`([^`]+)`/.exec(method)?.[1] ?? '', params, result }
}) ?? []

/** Refused in dev mode. */
const ofAccounts = new Set(rows.map(row => row.method).filter(method => /^(tokens|account)\./.test(method)))
/** Members that only a mute of an administrator, or an answer too large for a test, would show. */
const unseen = new Set(['groups.info.members.mutedUntil'])

await t.test('every result has exactly the documented members', async t => {
  const { ask, operate, send, store, host } = await bench(t, { limits: { maxBlocks: 10, maxContactRequests: 10 } })
  const conv = 'd:alice:bob'
  await send('bob', { user: 'alice' }, 'one')
  await send('bob', { user: 'alice' }, 'two')
  await send('alice', { user: 'bob' }, 'three')
  await send('carol', { user: 'alice' }, 'unread')
  await send('dora', { user: 'alice' }, 'one')
  await send('alice', { user: 'dora' }, 'two')
  await send('alice', { user: 'carol' }, 'three')
  await store.advance({ cursors: [], members: [{ user: 'bob', conv, deliveredSeq: 3 }], events: [] })
  for (const user of ['alice', 'xena']) await ask(user, 'groups.consent', { consent: 'known' })
  await ask('zoe', 'groups.create', { gid: 'others', members: ['alice'] })
  await ask('yann', 'groups.create', { gid: 'accepted', members: ['alice'] })
  await ask('mallory', 'blocks.add', { user: 'alice' })
  for (const user of ['bob', 'bobby']) await ask(user, 'people.set', { nickname: `Bob of ${user}`, avatar: 'media:b1', language: 'de', timeZone: 'UTC', fields: { a: 1 }, visible: 'everybody', findable: 'prefix' })
  for (const user of ['bob', 'carol', 'dora', 'eve']) await ask(user, 'contacts.request', { user: 'alice', text: 'hello' })
  for (const user of ['bob', 'carol']) await ask('alice', 'contacts.accept', { user })
  for (const user of ['bob', 'carol']) await ask('alice', 'contacts.set', { user, remark: 'one', groups: ['all'] })
  const asked = new Map<string, Array<Record<string, unknown>>>([
    ['groups.create', [{ gid: 'dev', name: 'Dev', members: ['bob', 'carol', 'xena', 'mallory'], meta: { color: 'red' } }, { gid: 'two', members: [] }]],
    ['groups.info', [{ gid: 'dev' }, { gid: 'dev', limit: 1 }, { gid: 'two' }]],
    ['groups.list', [{}, { limit: 1 }]],
    ['groups.add', [{ gid: 'dev', users: ['dora', 'dave', 'mallory'] }]],
    ['groups.remove', [{ gid: 'dev', users: ['dora', 'carol'] }]],
    ['groups.invitations', [{}]],
    ['groups.refuse', [{ gid: 'others' }]],
    ['groups.consent', [{}, { consent: 'nobody' }]],
    ['groups.accept', []],
    ['groups.role', [{ gid: 'dev', user: 'bob', role: 'admin' }]],
    ['contacts.request', [{ user: 'xena', text: 'hello' }]],
    ['contacts.requests', [{}]],
    ['contacts.accept', [{ user: 'dora' }]],
    ['contacts.refuse', [{ user: 'eve' }]],
    ['contacts.remove', [{ user: 'dora' }]],
    ['contacts.list', [{ limit: 1 }, { group: 'all' }]],
    ['contacts.set', [{ user: 'bob', remark: 'two', groups: ['all'] }]],
    ['contacts.mode', [{}, { mode: 'everybody' }]],
    ['conversations.list', [{}, { limit: 1 }]],
    ['conversations.mute', [{ conv }]],
    ['conversations.pin', [{ with: 'bob' }]],
    ['messages.history', [{ conv }, { conv, limit: 1 }, { conv, after: 0, limit: 1 }]],
    ['messages.reads', [{ conv, seq: 3 }, { group: 'dev', seq: 1, limit: 1 }]],
    ['messages.delete', [{ conv, seqs: [1] }]],
    ['sync', [{}, { convs: { 'd:alice:zoe': 3 } }]],
    ['unread', [{}]],
    ['conversations.clear', [{ conv }]],
    ['blocks.add', [{ user: 'eve' }]],
    ['blocks.list', [{}]],
    ['blocks.remove', [{ user: 'eve' }]],
    ['people.get', [{ user: 'alice' }, { user: 'bob' }]],
    ['people.list', [{ users: ['alice', 'bob'] }]],
    ['people.search', [{ text: 'bob', limit: 1 }, { text: 'nobody' }]],
    ['people.set', [{ nickname: 'Alice', avatar: 'https://example.com/a.png', language: 'en', timeZone: 'UTC', fields: { a: 1 } }]],
    ['server.info', [{}]],
    ['server.keepalive', [{ nat: 60 }]],
    ['groups.leave', []],
    ['groups.dissolve', [{ gid: 'two' }]]
  ])
  t.same(rows.map(row => row.method).filter(method => !ofAccounts.has(method)).sort(), [...asked.keys()].sort(), 'every method is asked')
  for (const [method, all] of asked) {
    const answers: unknown[] = []
    for (const params of all) answers.push(await (requests.get(method)?.permission === 'operator' ? operate(method, params) : ask('alice', method, params)))
    if (method === 'groups.accept') answers.push(await ask('alice', method, { gid: 'accepted' }))
    if (method === 'groups.leave') answers.push(await ask('bob', method, { gid: 'dev' }))
    checkAnswers(t, method, answers)
  }
  t.ok(host.limits)
})

await t.test('so have those that are about accounts with passwords', async t => {
  const { control, ask } = await bench(t, { mode: 'password', setup: { accounts: { tokens: { ...defaultTokens, platforms: new Map([['phone', 1]]) } } } })
  const password = 'correct horse'
  await control.accounts.users.add('alice', password)
  const made = await ask('alice', 'tokens.create', { password, name: 'one', platform: 'phone' }) as { id: string, accessToken: string }
  const next = await ask('alice', 'tokens.create', { password, name: 'two', platform: 'phone' }) as { id: string, accessToken: string, refreshToken: string, ended: string[] }
  t.same(next.ended, [made.id])
  await control.authenticate({ user: 'alice', password: Buffer.from(next.accessToken), address: '10.0.0.1' })
  await control.accounts.tokens.close()
  const answers = new Map<string, unknown[]>([
    ['tokens.create', [made, next]],
    ['tokens.list', [await ask('alice', 'tokens.list')]],
    ['tokens.refresh', [await ask('alice', 'tokens.refresh', { refreshToken: next.refreshToken })]],
    ['tokens.revoke', [await ask('alice', 'tokens.revoke', { id: next.id })]],
    ['account.password', [await ask('alice', 'account.password', { password, newPassword: 'battery staple' })]]
  ])
  t.same([...answers.keys()].sort(), [...ofAccounts].sort())
  for (const [method, all] of answers) checkAnswers(t, method, all)
})

/** The answers have the documented members, and each of these occurs. */
function checkAnswers (t: Test, method: string, answers: readonly unknown[]): void {
  const { result } = rows.find(row => row.method === method) as Row
  const shape = parseShape(/^`([^`]+)`/.exec(result)?.[1] ?? '')
  const seen = new Set<string>()
  for (const answer of answers) t.same(differences(JSON.parse(JSON.stringify(answer)), shape, seen), [], method)
  t.same(places(shape).filter(place => !seen.has(place) && !unseen.has(method + place)), [], `${method}: each documented member occurs`)
}

await t.test('sync with gzip: the bytes of the whole answer', async t => {
  const { ask, send } = await bench(t)
  await send('bob', { user: 'alice' }, 'one')
  const packed = await ask('alice', 'sync', { rid: '7', gzip: true }) as Uint8Array
  t.same([...packed.subarray(0, 2)], [0x1f, 0x8b])
  t.same(JSON.parse(gunzipSync(packed).toString()), { rid: '7', ok: true, result: await ask('alice', 'sync', {}) })
  await t.rejects(ask('alice', 'sync', { gzip: 1 }), { code: 'bad_payload' })
})

await t.test('the limits of the parameters are the documented ones', async t => {
  const { ask, send } = await bench(t)
  await send('bob', { user: 'alice' }, 'one')
  await ask('alice', 'groups.create', { gid: 'dev' })
  for (const { method, params } of rows) {
    const [, most, fallback] = /`limit` \(1 to (\d+); (\d+)\)/.exec(params) ?? []
    if (most === undefined) {
      t.notMatch(params, '`limit`', `${method}: no limit without its numbers`)
      continue
    }
    t.ok(Number(fallback) <= Number(most))
    const given = { conv: 'd:alice:bob', seq: 1, text: 'x', gid: method.startsWith('groups') ? 'dev' : undefined }
    await ask('alice', method, { ...given, limit: Number(most) })
    await t.rejects(ask('alice', method, { ...given, limit: Number(most) + 1 }), { code: 'bad_payload' }, method)
    await t.rejects(ask('alice', method, { ...given, limit: 0 }), { code: 'bad_payload' }, method)
  }
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `u${i}`)
  await t.rejects(ask('alice', 'groups.add', { gid: 'dev', users: many(1001) }), { code: 'too_large' })
  await t.rejects(ask('alice', 'messages.delete', { conv: 'd:alice:bob', seqs: many(1001).map((_, i) => i + 1) }), { code: 'too_large' })
  await t.rejects(ask('alice', 'groups.create', { name: 'x'.repeat(257) }), { code: 'bad_payload' })
  await t.rejects(ask('alice', 'groups.create', { meta: { x: 'x'.repeat(4096) } }), { code: 'too_large' })
})

await t.test('what must be given is in bold, and nothing else', async t => {
  const { ask, operate } = await bench(t)
  for (const { method, params } of rows) {
    const needed = [...params.matchAll(/\*\*`(\w+)`\*\*/g)].map(match => match[1])
    const asked: Promise<unknown> = requests.get(method)?.permission === 'operator' ? operate(method, {}) : ask('alice', method, {})
    const answer = await asked.then(() => undefined, (error: Error) => error.message)
    // One of two.
    if (method === 'tokens.revoke') t.match(answer, /^id: is missing \(or give all\)/)
    else if (needed.length === 0) t.equal(answer, undefined, `${method} asks for nothing`)
    else t.match(answer, new RegExp(`^${needed[0]}: is missing`), `${method} asks for ${needed.join(', ')}`)
  }
})
