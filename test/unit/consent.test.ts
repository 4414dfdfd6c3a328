/** Who may put whom into a group: block lists, consent, invitations, and whose quota it costs. */
import t from 'tap'
import { bench } from '../support/control-host.ts'
import type { Bench, BenchOptions } from '../support/control-host.ts'

const known: BenchOptions = { setup: { groupConsent: 'known' } }
const groupEvents = async (b: Bench, user: string): Promise<unknown[]> => (await b.events(user)).filter(event => event.kind === 'group')
const size = async (b: Bench, gid: string): Promise<number> => await b.store.groupSize(gid)

await t.test('a block list holds for groups too, whatever the setting', async t => {
  const b = await bench(t, { setup: { groupConsent: 'everybody' } })
  await b.ask('bob', 'blocks.add', { user: 'eve' })
  await b.ask('bob', 'groups.consent', { consent: 'everybody' })
  t.match(await b.ask('eve', 'groups.create', { gid: 'trap', members: ['bob', 'carol'] }), { size: 2, added: ['carol'], invited: [], refused: [{ user: 'bob', code: 'blocked' }] })
  t.same(await b.ask('eve', 'groups.add', { gid: 'trap', users: ['bob'] }), { added: [], invited: [], refused: [{ user: 'bob', code: 'blocked' }] })
  t.equal(await b.control.isMember('bob', 'trap'), false)
  t.same(await b.events('bob'), [])
  t.same((await b.ask('bob', 'groups.invitations')).invitations, [])
  await b.ask('bob', 'blocks.remove', { user: 'eve' })
  t.same((await b.ask('eve', 'groups.add', { gid: 'trap', users: ['bob'] })).added, ['bob'])
})

await t.test('known: whom one has written may add, others invite', async t => {
  const b = await bench(t, known)
  await b.send('bob', { user: 'alice' })
  await b.send('alice', { user: 'carol' })
  t.match(await b.ask('alice', 'groups.create', { gid: 'dev', name: 'Dev', members: ['bob', 'carol', 'dave'] }), { size: 2, added: ['bob'], invited: ['carol', 'dave'], refused: [] },
    'writing somebody does not make one known to them')
  t.equal(await size(b, 'dev'), 2)
  t.match(await groupEvents(b, 'carol'), [{ action: 'invite', gid: 'dev', by: 'alice', name: 'Dev' }])
  t.match(await b.ask('carol', 'groups.invitations'), { invitations: [{ gid: 'dev', name: 'Dev', by: 'alice', ts: b.clock.ms }] })
  await t.rejects(b.ask('carol', 'groups.info', { gid: 'dev' }), { code: 'not_found' }, 'an invitation shows nothing of the group')
  t.same(await b.ask('carol', 'groups.accept', { gid: 'dev' }), { gid: 'dev', conv: 'g:dev' })
  t.match((await b.store.messages('g:dev', { limit: 9 })).map(one => JSON.parse(`{${one.content}}`)).at(-1), { type: 'system', body: { action: 'join', by: 'carol', users: ['carol'], invitedBy: 'alice' } })
  t.same((await b.ask('carol', 'groups.invitations')).invitations, [])
  await t.rejects(b.ask('carol', 'groups.accept', { gid: 'dev' }), { code: 'not_found' }, 'once')
  await b.ask('dave', 'groups.refuse', { gid: 'dev' })
  await b.ask('dave', 'groups.refuse', { gid: 'dev' })
  await t.rejects(b.ask('dave', 'groups.accept', { gid: 'dev' }), { code: 'not_found' })
  t.equal(await size(b, 'dev'), 3)
})

await t.test('everybody says it for themself, also after a restart', async t => {
  const b = await bench(t, known)
  t.same(await b.ask('bob', 'groups.consent'), { consent: 'known' })
  await b.ask('bob', 'groups.consent', { consent: 'nobody' })
  await b.ask('carol', 'groups.consent', { consent: 'everybody' })
  await b.send('bob', { user: 'alice' })
  await t.rejects(b.ask('bob', 'groups.consent', { consent: 'friends' }), { code: 'bad_payload' })
  const again = await b.restart()
  t.same(await again.ask('bob', 'groups.consent'), { consent: 'nobody' })
  t.match(await again.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'carol'] }), { added: ['carol'], invited: [], refused: [{ user: 'bob', code: 'forbidden' }] })
  t.same(await again.ask('bob', 'groups.consent', { consent: 'default' }), { consent: 'known' })
  t.match(await again.ask('alice', 'groups.add', { gid: 'dev', users: ['bob'] }), { added: ['bob'] })
})

await t.test('an invitation ends with the right of who made it, with the group, and when it is taken back', async t => {
  const b = await bench(t, known)
  for (const one of ['bob', 'carol']) await b.send(one, { user: 'alice' })
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' })
  t.same((await b.ask('bob', 'groups.add', { gid: 'dev', users: ['eve', 'zoe', 'ann'] })).invited, ['eve', 'zoe', 'ann'])
  t.same((await b.ask('alice', 'groups.add', { gid: 'dev', users: ['eve'] })).invited, ['eve'], 'invited already: nothing new')
  t.equal((await groupEvents(b, 'eve')).length, 1)
  await b.ask('alice', 'groups.remove', { gid: 'dev', users: ['eve'] })
  await t.rejects(b.ask('eve', 'groups.accept', { gid: 'dev' }), { code: 'not_found' })
  await b.ask('alice', 'groups.remove', { gid: 'dev', users: ['bob'] })
  await t.rejects(b.ask('zoe', 'groups.accept', { gid: 'dev' }), { code: 'not_found' })
  await b.ask('alice', 'groups.dissolve', { gid: 'dev' })
  t.same((await b.ask('ann', 'groups.invitations')).invitations, [])
  await t.rejects(b.ask('ann', 'groups.accept', { gid: 'dev' }), { code: 'not_found' })
})

await t.test('invitations are bounded for who makes them and for whom they wait', async t => {
  const b = await bench(t, { ...known, limits: { maxInvitationsMade: 4, maxInvitations: 2 } })
  t.match(await b.ask('eve', 'groups.create', { gid: 'a', members: ['u1', 'u2', 'u3', 'u4', 'u5'] }), { invited: ['u1', 'u2', 'u3', 'u4'], refused: [{ user: 'u5', code: 'too_large' }] })
  await b.ask('u1', 'groups.refuse', { gid: 'a' })
  t.match(await b.ask('eve', 'groups.add', { gid: 'a', users: ['u5', 'u6'] }), { invited: ['u5'], refused: [{ user: 'u6', code: 'too_large' }] }, 'a place is free again')
  await b.ask('eve', 'groups.dissolve', { gid: 'a' })
  t.match(await b.ask('eve', 'groups.create', { gid: 'b', members: ['u2'] }), { invited: ['u2'] }, 'those to a group that is gone do not count')
  for (const [i, by] of ['ann', 'ben', 'cid'].entries()) {
    const { invited, refused } = await b.ask(by, 'groups.create', { gid: `g${i}`, members: ['zoe'] })
    t.same([invited, refused], i < 2 ? [['zoe'], []] : [[], [{ user: 'zoe', code: 'too_large' }]])
  }
})

await t.test('invitations to groups that are gone, which nobody sees, take no place', async t => {
  const b = await bench(t, { ...known, limits: { maxInvitations: 2 } })
  for (const gid of ['a', 'b', 'c']) {
    t.match(await b.ask('eve', 'groups.create', { gid, members: ['zoe'] }), { invited: ['zoe'], refused: [] }, gid)
    await b.ask('eve', 'groups.dissolve', { gid })
    b.clock.ms += 61_000
  }
  t.same((await b.ask('zoe', 'groups.invitations')).invitations, [])
  t.match(await b.ask('ann', 'groups.create', { gid: 'd', members: ['zoe'] }), { invited: ['zoe'], refused: [] })
  t.match((await b.ask('zoe', 'groups.invitations')).invitations, [{ gid: 'd' }])
})

await t.test('an invitation of somebody who may not invite any more makes room for another', async t => {
  const b = await bench(t, known)
  await b.send('bob', { user: 'alice' })
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'admin' })
  await b.ask('bob', 'groups.add', { gid: 'dev', users: ['eve'] })
  await b.ask('alice', 'groups.role', { gid: 'dev', user: 'bob', role: 'member' })
  t.same((await b.ask('alice', 'groups.add', { gid: 'dev', users: ['eve'] })).invited, ['eve'])
  t.match(await groupEvents(b, 'eve'), [{ action: 'invite', by: 'alice' }])
  t.match((await b.ask('eve', 'groups.invitations')).invitations, [{ gid: 'dev', by: 'alice' }])
  await b.ask('eve', 'groups.accept', { gid: 'dev' })
  t.equal(await size(b, 'dev'), 3)
  t.match(await b.ask('eve', 'groups.create', { gid: 'old', members: ['zoe'] }), { invited: ['zoe'] })
  await b.ask('eve', 'groups.dissolve', { gid: 'old' })
  t.match(await b.ask('alice', 'groups.create', { gid: 'old', members: ['zoe'] }), { invited: ['zoe'] }, 'another group of that id')
  await b.ask('zoe', 'groups.accept', { gid: 'old' })
})

await t.test('groups cost the quota of who owns them', async t => {
  const b = await bench(t, { limits: { maxGroupsPerUser: 2, maxGroupMemberships: 4 } })
  for (const gid of ['e1', 'e2']) t.same((await b.ask('eve', 'groups.create', { gid, members: ['bob'] })).added, ['bob'])
  await t.rejects(b.ask('eve', 'groups.create', { gid: 'e3', members: ['bob'] }), { code: 'too_large' })
  t.equal((await b.ask('bob', 'groups.create', { gid: 'b1' })).owner, 'bob', 'who was put into groups can still make some')
  await b.ask('bob', 'groups.create', { gid: 'b2' })
  await t.rejects(b.ask('bob', 'groups.create', { gid: 'b3' }), { code: 'too_large' })
  t.match(await b.ask('carol', 'groups.create', { gid: 'c1', members: ['bob', 'dave'] }), { added: ['dave'], refused: [{ user: 'bob', code: 'too_large' }] }, 'one full user stops no other')
  await t.rejects(b.ask('eve', 'groups.role', { gid: 'e1', user: 'bob', role: 'owner' }), { code: 'too_large' }, 'nobody is handed more than they may own')
  await b.ask('bob', 'groups.dissolve', { gid: 'b2' })
  await b.ask('eve', 'groups.role', { gid: 'e1', user: 'bob', role: 'owner' })
  t.equal((await b.ask('eve', 'groups.create', { gid: 'e3' })).owner, 'eve')
  await b.ask('bob', 'groups.leave', { gid: 'e2' })
  t.same((await b.ask('carol', 'groups.add', { gid: 'c1', users: ['bob'] })).added, ['bob'])
})
