/** What people say of themselves: what may be said, who sees it, and who finds them by it. */
import t from 'tap'
import { Finding, keysOf, puts } from '../../broker/engine/people/profiles/finding.ts'
import { bench, type Bench } from '../support/control-host.ts'

interface Found { people: Array<{ user: string, nickname?: string }>, next?: string }
const usersOf = ({ people }: Found): string[] => people.map(({ user }) => user)
async function rowsOf (b: Bench): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of b.store.records.range('profiles/', 'profiles0')) keys.push(key)
  return keys
}

await t.test('what may be said', async t => {
  const b = await bench(t)
  const set = (change: Record<string, unknown>): Promise<Record<string, unknown>> => b.ask('alice', 'people.set', change) as Promise<Record<string, unknown>>
  t.same(await set({ nickname: 'Ali 👩‍🚀', avatar: 'https://example.com/a.png?x=1', language: 'PT-br', timeZone: 'Europe/Berlin', fields: { team: 'red', n: [1] } }),
    { user: 'alice', nickname: 'Ali 👩‍🚀', avatar: 'https://example.com/a.png?x=1', language: 'pt-BR', timeZone: 'Europe/Berlin', fields: { team: 'red', n: [1] }, visible: 'contacts', findable: 'exact' })
  t.match(await set({ avatar: 'media:0mb2k3' }), { nickname: 'Ali 👩‍🚀', avatar: 'media:0mb2k3', fields: { n: [1] } }, 'what is not named stays')
  t.same(await set({ nickname: '', avatar: '', language: '', timeZone: '', fields: {} }), { user: 'alice', visible: 'contacts', findable: 'exact' }, 'nothing is left')
  t.match(await set({ visible: 'everybody', findable: 'nobody' }), { visible: 'everybody', findable: 'nobody' })
  t.match(await set({ visible: 'default', findable: 'default' }), { visible: 'contacts', findable: 'exact' })
  const wrong: Array<[object, string, RegExp]> = [
    [{ nickname: 'x'.repeat(65) }, 'bad_payload', /^nickname: must be a text of at most 64/],
    [{ nickname: ' \u00a0' }, 'bad_payload', /^nickname: must/],
    [{ nickname: '\u200b\u200d' }, 'bad_payload', /^nickname: must/],
    [{ nickname: '\u3164 \u2800' }, 'bad_payload', /^nickname: must/],
    [{ nickname: 'a\u202eb' }, 'bad_payload', /^nickname: has characters/],
    [{ nickname: 'a\nb' }, 'bad_payload', /^nickname: has characters/],
    [{ nickname: 'a\ud800' }, 'bad_payload', /^nickname: has characters/],
    [{ nickname: 7 }, 'bad_payload', /^nickname: must/],
    [{ avatar: 'javascript:alert(1)' }, 'bad_payload', /^avatar: must be an http/],
    [{ avatar: 'https://a/"onload=' }, 'bad_payload', /^avatar: /],
    [{ avatar: `https://a/${'x'.repeat(1024)}` }, 'bad_payload', /^avatar: /],
    [{ language: 'not a tag' }, 'bad_payload', /^language: must be/],
    [{ language: 'a-b-c' }, 'bad_payload', /^language: Incorrect locale/],
    [{ timeZone: 'Europe/Atlantis' }, 'bad_payload', /^timeZone: Invalid time zone/],
    [{ timeZone: '+02:00' }, 'bad_payload', /^timeZone: must be the name/],
    [{ fields: [] }, 'bad_payload', /^fields: must be an object/],
    [{ fields: { a: 1, b: 2, c: 3, d: 4, e: 5 } }, 'too_large', /^fields: at most 4$/],
    [{ fields: { a: 'ä'.repeat(97) } }, 'too_large', /^fields: at most 200 bytes$/],
    [{ visible: 'friends' }, 'bad_payload', /^visible: /],
    [{ findable: 'all' }, 'bad_payload', /^findable: /]
  ]
  for (const [change, code, message] of wrong) await t.rejects(set(change as Record<string, unknown>), { code, message }, JSON.stringify(change))
  t.match(await set({ fields: { a: 1, b: 2, c: 3, d: 'ä'.repeat(70) } }), { fields: { d: String } }, 'as much as may be')
  t.match(await set({ fields: JSON.parse('{"__proto__":{"x":1}}') as object }), { user: 'alice' })
  t.equal(Object.keys((await b.ask('alice', 'people.get', { user: 'alice' }) as { fields: object }).fields)[0], '__proto__')
})

await t.test('who sees what', async t => {
  const b = await bench(t, { mode: 'password' })
  for (const uid of ['alice', 'bob', 'eve']) await b.store.putUser({ uid, createdAt: 1 })
  await b.ask('alice', 'people.set', { nickname: 'Ali', language: 'de', timeZone: 'UTC', fields: { a: 1 } })
  t.same(await b.ask('bob', 'people.get', { user: 'alice' }), { user: 'alice', nickname: 'Ali' })
  await b.ask('alice', 'people.set', { visible: 'everybody' })
  t.same(await b.ask('bob', 'people.get', { user: 'alice' }), { user: 'alice', nickname: 'Ali', language: 'de', timeZone: 'UTC', fields: { a: 1 } }, 'settings are for oneself')
  t.same(await b.ask('bob', 'people.get', { user: 'eve' }), { user: 'eve' })
  await t.rejects(b.ask('bob', 'people.get', { user: 'zoe' }), { code: 'not_found' })
  t.same(await b.ask('bob', 'people.list', { users: ['zoe', 'eve', 'alice', 'eve'] }), { people: [{ user: 'eve' }, { user: 'alice', nickname: 'Ali' }] })
  await b.ask('alice', 'blocks.add', { user: 'bob' })
  t.same(await b.ask('bob', 'people.get', { user: 'alice' }), { user: 'alice' }, 'who is blocked sees nothing')
  t.same(await b.ask('bob', 'people.list', { users: ['alice'] }), { people: [{ user: 'alice' }] })
  t.same(await b.ask('bob', 'people.search', { text: 'alice' }), { people: [] })
})

await t.test('search: as far as the searched allow it', async t => {
  const b = await bench(t, { mode: 'password' })
  for (const uid of ['alice', 'Alina', 'bob', 'quiet', 'silent']) await b.store.putUser({ uid, createdAt: 1 })
  const search = (text: string, more: object = {}): Promise<Found> => b.ask('bob', 'people.search', { text, ...more }) as Promise<Found>
  await b.ask('alice', 'people.set', { nickname: 'Wonder  Ｗoman', findable: 'prefix' })
  await b.ask('Alina', 'people.set', { nickname: 'Ali' })
  await b.ask('quiet', 'people.set', { nickname: 'Alibi', findable: 'nobody' })
  t.same(usersOf(await search('ali')), ['Alina', 'alice'], 'the whole nickname, and the beginning of an id')
  t.same(usersOf(await search('ALIN')), [], 'who is found by the whole name only')
  t.same(usersOf(await search('ALINA')), ['Alina'], 'by the id in whatever case')
  t.same(usersOf(await search('wonder wo')), ['alice'], 'as names are compared')
  t.same([usersOf(await search('alibi')), usersOf(await search('quiet'))], [[], []], 'who does not want to be')
  t.same([usersOf(await search('silent')), usersOf(await search('silen')), usersOf(await search('SILENT'))], [['silent'], [], []], 'who has said nothing: by the id as it is')
  t.same(usersOf(await search('nobody')), [])
  await b.ask('alice', 'people.set', { nickname: 'Al', findable: 'nobody' })
  t.same(usersOf(await search('wonder')), [], 'the old name is gone')
  t.same((await rowsOf(b)).filter(key => key.endsWith('\talice')), [], 'and leaves no row')
  await b.ask('alice', 'people.set', { nickname: 'alice in chains', findable: 'prefix' })
  t.same(usersOf(await search('alice')), ['alice'], 'nobody is found twice')
  await b.control.accounts.users.remove('alice')
  t.same(usersOf(await search('alice')), [])
  t.same((await rowsOf(b)).filter(key => key.includes('alice')), [], 'a profile goes with its account')
  await t.rejects(search('\u3000'), { code: 'bad_payload', message: /^text: / })
  await t.rejects(search('x'.repeat(65)), { code: 'bad_payload' })
})

await t.test('search: letters that have more than one form', async t => {
  const b = await bench(t)
  const found = async (text: string): Promise<string[]> => usersOf(await b.ask('bob', 'people.search', { text }) as Found)
  await b.ask('kostas', 'people.set', { nickname: 'Κώστας', findable: 'prefix' })
  t.same([await found('ΚΏΣ'), await found('Κώσ'), await found('ΚΏΣΤΑΣ'), await found('κώστας')], [['kostas'], ['kostas'], ['kostas'], ['kostas']], 'the sigma at the end of a word')
  await b.ask('jan', 'people.set', { nickname: 'J\u030can', findable: 'prefix' })
  t.same(await found('\u01f0a'), ['jan'], 'one letter in lower case, two in upper case')
})

await t.test('what is configured holds for those who have said nothing', async t => {
  const b = await bench(t, { setup: { profiles: { findable: 'prefix', visible: 'everybody' } } })
  await b.ask('alice', 'people.set', { nickname: 'Ali', language: 'de' })
  t.match(await b.ask('bob', 'people.get', { user: 'alice' }), { language: 'de' })
  t.same(usersOf(await b.ask('bob', 'people.search', { text: 'a' }) as Found), ['alice'])
  const hidden = await bench(t, { setup: { profiles: { findable: 'nobody', visible: 'nobody' } }, path: `${t.testdirName}/other`, mode: 'password' })
  await hidden.store.putUser({ uid: 'alice', createdAt: 1 })
  t.same(await hidden.ask('bob', 'people.search', { text: 'alice' }), { people: [] })
  await hidden.ask('alice', 'people.set', { nickname: 'Ali' })
  t.same(await hidden.ask('bob', 'people.search', { text: 'ali' }), { people: [] })
})

await t.test('pages: each once, in order, whatever the limit, and none is left out', async t => {
  const b = await bench(t, { mode: 'password' })
  const names = Array.from({ length: 40 }, (_, i) => `user${i}`)
  for (const uid of [...names, 'u', 'bob']) await b.store.putUser({ uid, createdAt: 1 })
  for (const [i, uid] of names.entries()) await b.ask(uid, 'people.set', { nickname: ['Us', 'u𝄞', `uz${i}`][i % 3], findable: i % 7 === 0 ? 'exact' : 'prefix' })
  const expected = names.filter((_, i) => i % 7 !== 0).sort()
  for (const limit of [1, 3, 50]) {
    const found: string[] = []
    let after: string | undefined
    for (let pages = 0; pages < 100; pages++) {
      const page = await b.ask('bob', 'people.search', { text: 'u', limit, ...after !== undefined && { after } }) as Found
      found.push(...usersOf(page))
      after = page.next
      if (after === undefined) break
      t.equal(page.people.length, limit)
    }
    t.same([...found].sort(), ['u', ...expected], `limit ${limit}`)
    t.equal(found[0], 'u', 'the very id first')
  }
})

await t.test('rows of the past find nobody', async t => {
  const b = await bench(t)
  await b.ask('alice', 'people.set', { nickname: 'New', findable: 'nobody' })
  await b.store.records.write(puts([...keysOf('alice', { nickname: 'Old', findable: 'prefix' }), ...keysOf('ghost', { findable: 'prefix' })]), true)
  t.same(await b.ask('bob', 'people.search', { text: 'old' }), { people: [] })
  t.same(await b.ask('bob', 'people.search', { text: 'ghost' }), { people: [] })
  t.same(await b.ask('bob', 'people.search', { text: 'ali' }), { people: [] })
})

await t.test('a search reads no more rows than it shows, however many there are', async t => {
  const b = await bench(t)
  for (let i = 0; i < 300; i++) await b.store.records.write(puts(keysOf(`user${i}`, { nickname: `n${i}`, findable: i % 2 === 0 ? 'prefix' : 'nobody' })), false)
  let read = 0
  const counting = { ...b.store.records, range: async function * (...args: Parameters<typeof b.store.records.range>) { for await (const row of b.store.records.range(...args)) { read++; yield row } } }
  t.equal((await new Finding(counting, 'exact').page('n', undefined, 5)).length, 5)
  t.equal(read, 5)
})

await t.test('the devices of the user hear of it', async t => {
  const b = await bench(t)
  await b.ask('alice', 'people.set', { nickname: 'Ali', language: 'de' })
  await b.ask('alice', 'people.set', { avatar: 'media:a', visible: 'everybody' })
  t.same(await b.events('alice'), [{ kind: 'profile', user: 'alice', nickname: 'Ali', avatar: 'media:a', ts: b.clock.ms }], 'the newest one')
  await b.ask('alice', 'people.set', {})
  t.equal((await b.events('alice')).length, 1, 'who asks changes nothing')
})

await t.test('a change that was cut off is made whole by the next one', async t => {
  const b = await bench(t)
  const { write } = b.store.records
  for (let fail = 1; fail <= 2; fail++) {
    await b.ask('alice', 'people.set', { nickname: 'Old', findable: 'prefix' })
    let calls = 0
    Reflect.set(b.store.records, 'write', async (...args: Parameters<typeof write>) => {
      if (++calls === fail) throw new Error('cut off')
      return await write.apply(b.store.records, args)
    })
    await t.rejects(b.ask('alice', 'people.set', { nickname: 'New' }), { message: 'cut off' })
    Reflect.set(b.store.records, 'write', write)
    const found = usersOf(await b.ask('bob', 'people.search', { text: fail === 1 ? 'old' : 'new' }) as Found)
    t.same(found, ['alice'], `the one or the other, whole (write ${fail})`)
    await b.ask('alice', 'people.set', { nickname: 'New' })
    t.same(usersOf(await b.ask('bob', 'people.search', { text: 'new' }) as Found), ['alice'])
    t.same(await b.ask('bob', 'people.search', { text: 'old' }), { people: [] })
  }
})
