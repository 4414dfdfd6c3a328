import t from 'tap'
import { CallerGone } from '../../broker/engine/host.ts'
import { requests } from '../../broker/operations.ts'
import { type Bench, bench } from '../support/control-host.ts'

const system = (b: Bench) => b.outputs.filter(o => o.kind === 'message').map(o => (JSON.parse(Buffer.from(o.payload).toString()) as { body: unknown }).body)

await t.test('create, add, remove, leave', async t => {
  const b = await bench(t)
  t.match(await b.ask('alice', 'groups.create', { gid: 'dev', name: 'Dev', members: ['bob', 'bob', 'alice'] }), { gid: 'dev', conv: 'g:dev', name: 'Dev', owner: 'alice', size: 2 })
  t.match(b.outputs[0], { kind: 'members', gid: 'dev', added: [{ user: 'alice', joinedSeq: 0 }, { user: 'bob', joinedSeq: 0 }], removed: [] }, 'members come before the message that they may see')
  t.match(b.outputs.at(-1), { kind: 'message', conv: 'g:dev', seq: 1, from: '' }, 'nobody\'s own copy')
  t.match(JSON.parse(Buffer.from((b.outputs.at(-1) as { payload: Uint8Array }).payload).toString()), { from: 'alice', to: 'g/dev', type: 'system' })
  await t.rejects(b.ask('bob', 'groups.create', { gid: 'dev' }), { code: 'conflict' })
  await t.rejects(b.ask('bob', 'groups.add', { gid: 'dev', users: ['eve'] }), { code: 'forbidden' })
  t.same(await b.ask('alice', 'groups.add', { gid: 'dev', users: ['bob', 'carol'] }), { added: ['carol'], invited: [], refused: [] })
  t.match(b.outputs.find(o => o.kind === 'members' && o.added[0]?.user === 'carol'), { added: [{ joinedSeq: 1 }] })
  t.same(await b.ask('alice', 'groups.add', { gid: 'dev', users: ['bob'] }), { added: [], invited: [], refused: [] })
  t.match(await b.ask('carol', 'groups.info', { gid: 'dev' }), { gid: 'dev', name: 'Dev', owner: 'alice', size: 3, role: 'member', members: [{ user: 'alice', role: 'owner' }, { user: 'bob' }, { user: 'carol' }] })
  t.equal(await b.control.isMember('carol', 'dev'), true)
  t.same(b.control.mayPost('carol', 'dev'), { ok: true }, 'synchronous when warm')
  t.same(await b.ask('alice', 'groups.remove', { gid: 'dev', users: ['carol', 'eve'] }), { removed: ['carol'] })
  t.match(await b.control.mayPost('carol', 'dev'), { ok: false, code: 'not_found' }, 'exact after a change')
  await b.ask('bob', 'groups.leave', { gid: 'dev' })
  await t.rejects(b.ask('alice', 'groups.leave', { gid: 'dev' }), { code: 'conflict' })
  t.match(system(b), [
    { action: 'create', by: 'alice', users: ['alice', 'bob'] },
    { action: 'add', by: 'alice', users: ['carol'] },
    { action: 'remove', by: 'alice', users: ['carol'] },
    { action: 'leave', by: 'bob', users: ['bob'] }
  ])
  t.match(await b.events('carol'), [{ kind: 'group', action: 'remove', gid: 'dev', by: 'alice' }], 'the newest of the group')
  t.same((await b.ask('alice', 'unread')).total, 0, 'system messages do not count')
})

await t.test('roles', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'carol', 'dave'] })
  await t.rejects(b.ask('bob', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' }), { code: 'forbidden' })
  await t.rejects(b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'king' }), { code: 'bad_payload' })
  await t.rejects(b.ask('alice', 'groups.role', { gid: 'dev', user: 'eve', role: 'admin' }), { code: 'not_found' })
  await t.rejects(b.ask('alice', 'groups.role', { gid: 'dev', user: 'alice', role: 'member' }), { code: 'conflict' })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'carol', role: 'admin' })
  await b.ask('bob', 'groups.remove', { gid: 'dev', users: ['dave'] })
  await t.rejects(b.ask('bob', 'groups.remove', { gid: 'dev', users: ['carol'] }), { code: 'forbidden' })
  await t.rejects(b.ask('bob', 'groups.remove', { gid: 'dev', users: ['alice'] }), { code: 'forbidden' })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'owner' })
  t.match(await b.ask('alice', 'groups.info', { gid: 'dev' }), { owner: 'bob', role: 'admin' })
  await b.ask('bob', 'groups.remove', { gid: 'dev', users: ['alice'] })
  await t.rejects(b.ask('alice', 'groups.info', { gid: 'dev' }), { code: 'not_found' })
  t.match((await b.ask('carol', 'groups.list')).groups, [{ gid: 'dev', name: 'dev', owner: 'bob', role: 'admin', size: 2 }])
})

await t.test('a muted member may not post until the time is over', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev' })
  await b.store.commit([{ op: 'member', gid: 'dev', user: 'bob', role: 'member', mutedUntil: b.clock.ms + 1_000 }])
  t.match(await b.control.mayPost('bob', 'dev'), { ok: false, code: 'muted' })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' })
  t.match(await b.control.mayPost('bob', 'dev'), { ok: false, code: 'muted' }, 'a role does not end it')
  b.clock.ms += 1_000
  t.same(await b.control.mayPost('bob', 'dev'), { ok: true })
})

await t.test('dissolving tells everybody; then there is no such group', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.control.isMember('bob', 'dev')
  await t.rejects(b.ask('bob', 'groups.dissolve', { gid: 'dev' }), { code: 'forbidden' })
  await b.ask('alice', 'groups.dissolve', { gid: 'dev' })
  t.match(b.outputs.at(-1), { kind: 'members', gid: 'dev', added: [], removed: ['alice', 'bob'] })
  t.match(await b.events('bob'), [{ kind: 'group', action: 'dissolve', gid: 'dev', by: 'alice' }])
  t.equal(await b.control.isMember('bob', 'dev'), false)
  await t.rejects(b.ask('alice', 'groups.info', { gid: 'dev' }), { code: 'not_found' })
  t.match(await b.ask('bob', 'groups.create', { gid: 'dev' }), { owner: 'bob' }, 'the name is free again')
})

await t.test('a group of 10,000 members', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'big' })
  for (let batch = 0; batch < 10; batch++) {
    const members = Array.from({ length: 1_000 }, (_, i) => `u${batch * 1_000 + i}`)
    t.equal((await b.ask('alice', 'groups.add', { gid: 'big', members })).added.length, 1_000)
  }
  t.equal((await b.ask('u77', 'groups.info', { gid: 'big', limit: 1 })).size, 10_001)
  t.match(system(b).at(-1), { action: 'add', users: { length: 50 } })
  const { seq } = await b.send('u5', { gid: 'big' })
  await b.control.rules.conversations.mark('u9999', { kind: 'group', id: 'big' }, seq)
  const readers: string[] = []
  let after: string | undefined
  do {
    const page = await b.ask('u5', 'messages.reads', { gid: 'big', seq, ...(after === undefined ? {} : { after }) })
    readers.push(...page.read)
    after = page.next
  } while (after !== undefined)
  t.same(readers, ['u9999'])
  await b.ask('alice', 'groups.dissolve', { gid: 'big' })
  t.equal(b.outputs.filter(o => o.kind === 'members').at(-1)?.removed.length, 10_001)
})

await t.test('a change of many users is made in steps, each whole, with the others in between', async t => {
  const b = await bench(t)
  const members = Array.from({ length: 120 }, (_, i) => `u${i}`)
  let pauses = 0
  const pause = async (): Promise<void> => { pauses++ }
  const ask = (method: string, params: Record<string, unknown>, more: object): Promise<any> => Promise.resolve(requests.get(method)?.run(b.control.rules, { user: 'alice', session: 'alice/test', ...more }, params))
  t.match(await ask('groups.create', { gid: 'big', members }, { pause }), { size: 121, added: { length: 120 } })
  t.ok(pauses >= 2, `${pauses} pauses`)
  t.same(system(b).map(body => [(body as { action: string }).action, (body as { users: string[] }).users.length]), [['create', 51], ['add', 50], ['add', 20]])
  t.same((await b.events('u119')).map(({ action }) => action), ['add'])

  pauses = 0
  t.match(await ask('groups.remove', { gid: 'big', users: members.slice(0, 70) }, { pause }), { removed: { length: 70 } })
  t.equal(pauses, 1)
  t.same(system(b).slice(-2).map(body => (body as { users: string[] }).users.length), [50, 20])

  // What was looked up may be given up; what has been begun is finished.
  let calls = 0
  const gone = async (): Promise<void> => { if (++calls > 1) throw new CallerGone() }
  await ask('groups.add', { gid: 'big', users: members.slice(0, 70) }, { pause: gone }).catch((error: unknown) => { t.type(error, CallerGone) })
  t.equal((await b.ask('alice', 'groups.info', { gid: 'big' })).size, 51, 'given up before')
  calls = -1
  t.match(await ask('groups.add', { gid: 'big', users: members.slice(0, 70) }, { pause: gone }), { added: { length: 70 } })

  // A store that fails in the middle leaves whole steps.
  const { commit } = b.host
  let left = 1
  b.host.commit = async operations => { if (left-- === 0) throw new Error('no store'); return await commit(operations) }
  await t.rejects(ask('groups.create', { gid: 'half', members }, {}), { message: 'no store' })
  b.host.commit = commit
  const hears = async (user: string): Promise<boolean> => (await b.events(user)).some(({ gid }) => gid === 'half')
  t.same([(await b.ask('alice', 'groups.info', { gid: 'half' })).size, await hears('u49'), await hears('u50')], [51, true, false])
  t.same((await b.ask('alice', 'groups.add', { gid: 'half', users: members })).added, members.slice(50), 'asking again brings the rest')
})

await t.test('limits and bad requests', async t => {
  const b = await bench(t, { limits: { maxGroupMembers: 3, maxGroupsPerUser: 2 } })
  await t.rejects(b.ask('alice', 'groups.create', { gid: 'dev', members: ['b', 'c', 'd'] }), { code: 'too_large' })
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['b', 'c'] })
  await t.rejects(b.ask('alice', 'groups.add', { gid: 'dev', users: ['d'] }), { code: 'too_large' })
  await b.ask('alice', 'groups.create', {})
  await t.rejects(b.ask('alice', 'groups.create', {}), { code: 'too_large' })
  for (const bad of [{ gid: 'a/b' }, { gid: 7 }, { members: 'bob' }, { members: [1] }, { name: '' }, { name: 'x'.repeat(257) }, { meta: [] }]) {
    await t.rejects(b.ask('x', 'groups.create', bad as Record<string, unknown>), { code: 'bad_payload' }, JSON.stringify(bad).slice(0, 40))
  }
  await t.rejects(b.ask('x', 'groups.create', { members: Array.from({ length: 1_001 }, (_, i) => `u${i}`) }), { code: 'too_large' })
  await t.rejects(b.ask('x', 'groups.create', { meta: { a: 'x'.repeat(5_000) } }), { code: 'too_large' })
  await t.rejects(b.ask('x', 'groups.add', { gid: 'dev', users: ['x'] }), { code: 'not_found' }, 'a group that is not theirs is not there')
  await t.rejects(b.ask('x', 'groups.add', { users: ['x'] }), { code: 'bad_payload' })
  await t.rejects(b.ask('alice', 'groups.add', { gid: 'dev' }), { code: 'bad_payload' })
})

await t.test('password mode: members must exist', async t => {
  const b = await bench(t, { mode: 'password' })
  await b.store.putUser({ uid: 'bob', createdAt: 0 })
  await t.rejects(b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'ghost'] }), { code: 'not_found', message: /ghost/ })
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await t.rejects(b.ask('alice', 'groups.add', { gid: 'dev', users: ['ghost'] }), { code: 'not_found' })
})

await t.test('changes of one group run one after the other', async t => {
  const b = await bench(t)
  const made = await Promise.allSettled([1, 2, 3].map(i => b.ask(`u${i}`, 'groups.create', { gid: 'dev' })))
  t.same(made.map(one => one.status), ['fulfilled', 'rejected', 'rejected'])
  const added = await Promise.all([1, 2].map(() => b.ask('u1', 'groups.add', { gid: 'dev', users: ['x'] })))
  t.same(added.map(one => one.added), [['x'], []])
})

await t.test('who is named many times is one, also where many are looked up beforehand', async t => {
  const b = await bench(t, { limits: { maxGroupMembers: 10 } })
  let pauses = 0
  const caller = { user: 'alice', session: 'alice/test', pause: async () => { pauses++ } }
  const create = requests.get('groups.create')
  const members = Array.from({ length: 120 }, (_, i) => `m${i % 4}`)
  t.match(await create?.run(b.control.rules, caller, { gid: 'dev', members }), { size: 5 })
  t.ok(pauses > 0)
})
