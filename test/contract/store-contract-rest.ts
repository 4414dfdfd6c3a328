/** The second half of the contract suite. */
import type { Test } from 'tap'
import type { Operation, SessionRow, Store } from '../../broker/store/store.ts'
import { append, direct, group, join, message, seqs, unread } from './operations.ts'
import type { Open } from './operations.ts'

export async function rest (t: Test, name: string, open: Open, members: number): Promise<void> {
  await t.test(`${name}: groups`, async t => {
    await t.test('come, are described, list their members', async t => {
      const { store, reopen } = await open(t)
      await append(store, group('dev'), { op: 'member', gid: 'dev', user: 'alice', role: 'owner' }, join('dev', 'bob'), group('ops'))
      t.same(await store.group('dev'), { gid: 'dev', name: 'DEV', owner: 'alice', createdAt: 5, meta: { color: 'red' } })
      t.equal(await store.group('nope'), undefined)
      t.same((await store.groups({ limit: 9 })).map(g => g.gid), ['dev', 'ops'])
      t.same((await store.groups({ limit: 9, after: 'dev' })).map(g => g.gid), ['ops'])
      t.same(await store.groupMembers('dev', { limit: 9 }), [{ user: 'alice', role: 'owner' }, { user: 'bob', role: 'member' }])
      t.same(await store.groupMembers('dev', { limit: 1, after: 'alice' }), [{ user: 'bob', role: 'member' }])
      await append(store, { op: 'member', gid: 'dev', user: 'bob', role: 'admin', mutedUntil: 77 })
      t.strictSame(await store.groupMember('dev', 'bob'), { user: 'bob', role: 'admin', mutedUntil: 77 })
      t.match(await store.member('bob', 'g:dev'), { role: 'admin', mutedUntil: 77 })
      await append(store, join('dev', 'bob'))
      t.strictSame(await store.groupMember('dev', 'bob'), { user: 'bob', role: 'member' })
      t.equal((await store.member('bob', 'g:dev'))?.mutedUntil, undefined)
      t.equal(await store.groupSize('dev'), 2)
      t.equal(await store.groupMember('dev', 'eve'), undefined)
      const again = await reopen()
      t.equal(await again.groupSize('dev'), 2)
      t.match(await again.groupMember('dev', 'alice'), { role: 'owner' })
    })

    await t.test('history starts when one joins, also in the middle of a batch', async t => {
      const { store } = await open(t)
      await append(store, group('dev'), join('dev', 'alice'), message('g:dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice'))
      t.match(await store.member('bob', 'g:dev'), { joinedSeq: 1, readSeq: 1, readN: 1, deliveredSeq: 1, clearedSeq: 0 })
      t.equal(await unread(store, 'bob', 'g:dev'), 1)
      await append(store, join('dev', 'bob'), message('g:dev', 'stranger'))
      t.match(await store.member('bob', 'g:dev'), { joinedSeq: 1 }, 'adding again moves nothing')
      t.equal(await store.hide('bob', 'g:dev', [1, 2]), 1, 'what came before cannot be hidden')
      t.equal(await unread(store, 'bob', 'g:dev'), 1)
      t.equal(await store.member('stranger', 'g:dev'), undefined, 'sending makes no member')
    })

    await t.test('leaving removes both sides and what was hidden', async t => {
      const { store } = await open(t)
      await append(store, group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice'), message('g:dev', 'alice'))
      await store.hide('bob', 'g:dev', [2])
      await append(store, { op: 'member.drop', gid: 'dev', user: 'bob' }, { op: 'member.drop', gid: 'dev', user: 'bob' }, { op: 'member.drop', gid: 'dev', user: 'eve' })
      t.equal(await store.member('bob', 'g:dev'), undefined)
      t.equal(await store.groupMember('dev', 'bob'), undefined)
      t.same(await store.memberships('bob', { limit: 9 }), [])
      t.equal(await store.groupSize('dev'), 1)
      await append(store, join('dev', 'bob'), message('g:dev', 'alice'))
      t.match(await store.member('bob', 'g:dev'), { joinedSeq: 2, hiddenUnread: 0 })
      t.same(await store.hidden('bob', 'g:dev', 0, 9), [])
      t.equal(await unread(store, 'bob', 'g:dev'), 1)
    })

    await t.test('a removed group leaves nothing to one of the same id', async t => {
      const { store, reopen } = await open(t)
      await append(store, group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice', { cid: 'k', ts: 10 }), message('g:dev', 'alice', { cid: 'l', ts: 11 }))
      await store.hide('bob', 'g:dev', [1])
      await append(store, { op: 'group.drop', gid: 'dev' })
      t.equal(await store.group('dev'), undefined)
      t.same(await store.groupMembers('dev', { limit: 9 }), [])
      t.equal(await store.groupSize('dev'), 0)
      t.same([await store.member('alice', 'g:dev'), await store.member('bob', 'g:dev')], [undefined, undefined])
      t.same(await store.messages('g:dev', { limit: 9 }), [])
      t.same(await store.messagesAt([{ conv: 'g:dev', seq: 1 }]), [undefined])
      const [, , , made] = await append(store, group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice', { cid: 'k', ts: 12 }))
      t.match(made, { replay: false })
      const visible = async (s: Store) => (await s.messages('g:dev', { limit: 9 })).map(m => m.id)
      t.same(await visible(store), [made?.id])
      t.equal(await unread(store, 'bob', 'g:dev'), 1)
      t.same(await store.hidden('bob', 'g:dev', 0, 99), [])
      await store.purge(12, 100)
      const again = await reopen()
      t.same(await visible(again), [made?.id], 'the purge takes the old ones only')
      t.match(await append(again, message('g:dev', 'alice', { cid: 'k' })), [{ replay: true, id: made?.id }], 'and leaves the new key')
    })

    await t.test(`a group message writes one row for ${members} members`, async t => {
      const { store } = await open(t)
      const users = Array.from({ length: members }, (_, i) => `u${i}`)
      await store.commit([group('big'), ...users.map(user => join('big', user))])
      t.equal(await store.groupSize('big'), members)
      await append(store, message('g:big', 'u1'))
      t.same([await unread(store, 'u1', 'g:big'), await unread(store, `u${members - 1}`, 'g:big')], [0, 1])
      await append(store, { op: 'group.drop', gid: 'big' })
      t.equal(await store.member(`u${members - 1}`, 'g:big'), undefined)
      t.equal(await store.groupSize('big'), 0)
    })
  })

  await t.test(`${name}: purge`, async t => {
    await t.test('removes the oldest, with keys and deletions, and never goes back', async t => {
      const { store, reopen } = await open(t)
      await append(store, ...[10, 20, 30, 40].map(ts => message(direct, 'alice', { ts, cid: `c${ts}` })), message('d:alice:carol', 'alice', { ts: 15 }))
      await store.hide('bob', direct, [1, 4])
      t.equal(await unread(store, 'bob', direct), 2)
      t.equal(await store.purge(31, 2), 2, 'at most the limit')
      t.equal(await store.purge(31, 100), 2)
      t.equal(await store.purge(31, 100), 0)
      t.same(seqs(await store.messages(direct, { limit: 9 })), [4])
      t.same(await store.messages('d:alice:carol', { limit: 9 }), [])
      t.same(await store.hidden('bob', direct, 0, 9), [4])
      t.match(await store.member('bob', direct), { readSeq: 3, readN: 3, hiddenUnread: 1 })
      t.same([await unread(store, 'bob', direct), await unread(store, 'carol', 'd:alice:carol')], [0, 0])
      t.equal(await store.purge(1000, 100), 1)
      t.equal(await unread(store, 'bob', direct), 0)
      t.match(await store.heads([direct]), [{ seq: 4, n: 4 }])
      const again = await reopen()
      t.match(await append(again, message(direct, 'alice', { cid: 'c10', ts: 50 })), [{ seq: 5, n: 5, replay: false }], 'its key is gone, its number is not used again')
      t.equal(await unread(again, 'bob', direct), 1)
      t.equal(await again.purge(51, 100), 1)
      t.equal(await again.purge(51, 100), 0)
    })

    await t.test('a DUP of a purged message is answered with its number', async t => {
      const { store } = await open(t)
      const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
      const first = message(direct, 'alice', { resend, ts: Date.now() })
      await append(store, first)
      t.equal(await store.purge(Date.now() + 1000, 9), 1)
      t.same(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: Date.now() })), [{ seq: 1, n: 1, id: first.id, ts: first.ts, replay: true }])
    })

    await t.test('what counts and expires is known by conversation until it is purged', async t => {
      const { store, reopen } = await open(t)
      const soon = { expiresAt: 1_790_000_000_500 }
      await append(store, message(direct, 'alice'), message(direct, 'alice', soon), message(direct, 'bob', { ...soon, counts: false }))
      t.same(await store.heads([direct]), [{ ...(await store.heads([direct]))[0], expiring: 2 }])
      await append(store, message(direct, 'alice', { expiresAt: 7, ts: 2_000_000_000_000 }), message('d:alice:bo', 'bo', soon), message(direct, 'bob', { ts: 2_000_000_000_000 }))
      t.match(await store.heads([direct, 'd:alice:bo']), [{ seq: 5, expiring: 4 }, { seq: 1, expiring: 1 }])
      t.match((await store.conversations('alice', { limit: 9 })).map(one => one.head.expiring), [1, 4])
      const all = [{ seq: 2, expiresAt: soon.expiresAt }, { seq: 4, expiresAt: 7 }]
      t.same(await store.expiring(direct, 0, 10), all)
      t.same(await store.expiring(direct, 0, 1), all.slice(0, 1))
      t.same(await store.expiring(direct, 2, 10), all.slice(1))
      t.same(await store.expiring(direct, 4, 10), [])
      t.same(await store.expiring('d:no:one', 0, 10), [])
      t.equal(await store.purge(1_999_999_999_999, 100), 4)
      t.same(await store.expiring(direct, 0, 10), all.slice(1))
      const again = await reopen()
      t.same(await again.expiring(direct, 0, 10), all.slice(1))
      t.match(await again.heads([direct]), [{ seq: 5, expiring: 4 }])
      t.equal(await again.purge(2_000_000_000_001, 100), 2)
      t.same(await again.expiring(direct, 0, 10), [])
      t.match(await again.heads([direct]), [{ seq: 5, expiring: 4 }], 'heads never go back')
    })

    await t.test('a long log goes in steps', async t => {
      const { store } = await open(t)
      await store.commit(Array.from({ length: 1700 }, (_, i) => message(direct, 'alice', { ts: i })))
      t.equal(await store.purge(1650, 1000), 1000)
      t.equal(await store.purge(1650, 1000), 650)
      t.same((await store.messages(direct, { limit: 1 }))[0]?.seq, 1651)
    })
  })

  await t.test(`${name}: event log`, async t => {
    const { store, reopen } = await open(t)
    const event = (content: string, slot?: string): Operation => ({ op: 'event', user: 'bob', ts: 3, content, ...(slot === undefined ? {} : { slot }) })
    t.same(await store.eventHead('bob'), { seq: 0, deliveredSeq: 0 })
    const out = await append(store, event('{"a":"x|y"}', 'read d:x'), event('{"b":1}'), event('{"a":2}', 'read d:x'), event('{"c":1}', 'read d:y'))
    t.same(seqs(out), [1, 2, 3, 4])
    t.same(await store.events('bob', 0, 9), [{ seq: 2, ts: 3, content: '{"b":1}' }, { seq: 3, ts: 3, content: '{"a":2}' }, { seq: 4, ts: 3, content: '{"c":1}' }])
    t.same(seqs(await store.events('bob', 2, 1)), [3])
    t.same(await store.events('bo', 0, 9), [])
    const again = await reopen()
    t.same(seqs(await append(again, event('{"c":2}', 'read d:y'))), [5])
    t.same(seqs(await again.events('bob', 0, 9)), [2, 3, 5])
    await again.advance({ cursors: [], members: [], events: [{ user: 'bob', deliveredSeq: 3 }, { user: 'bob', deliveredSeq: 2 }] })
    t.same(await again.eventHead('bob'), { seq: 5, deliveredSeq: 3 })
    await again.advance({ cursors: [], members: [], events: [{ user: 'bob', deliveredSeq: 99 }, { user: 'eve', deliveredSeq: 1 }] })
    t.same(await again.eventHead('bob'), { seq: 5, deliveredSeq: 5 })
    t.same(await again.eventHead('eve'), { seq: 0, deliveredSeq: 0 })
  })

  await t.test(`${name}: users, blocks, sessions`, async t => {
    const { store, reopen } = await open(t)
    const session = (user: string, clientId: string): SessionRow => ({
      session: `${user}/${clientId}`,
      user,
      clientId,
      subscriptions: [{ filter: 'im/u/bob/#', qos: 1 }],
      inflight: [{ packetId: 3, stream: 'd:a:b', seq: 9 }, { packetId: 0, stream: 'd:a:b', seq: 10, had: ['bob/a'] }],
      own: [{ conv: 'd:a:b', runs: [{ first: 9, last: 9 }, { first: 11, last: 14 }] }],
      expirySeconds: 60,
      expiresAt: 1000,
      createdAt: 1
    })
    await Promise.all([
      ...['bob', 'bob-2', 'al'].map(uid => store.putUser({ uid, createdAt: 1, name: uid })),
      store.setBlock('bob', 'eve', true), store.setBlock('bob', 'mallory', true), store.setBlock('bob-2', 'eve', true),
      ...['a', 'ü/b', 'c:d'].map(id => store.putSession(session('bob', id))), store.putSession(session('bob-2', 'a'))
    ])
    t.same(await store.user('bob'), { uid: 'bob', createdAt: 1, name: 'bob' })
    t.same(await store.usersAt(['bob', 'nobody', 'al', 'bob']), [await store.user('bob'), undefined, await store.user('al'), await store.user('bob')])
    t.same(await store.usersAt([]), [])
    t.same((await store.users({ limit: 2 })).map(u => u.uid), ['al', 'bob'])
    t.same((await store.users({ limit: 2, after: 'bob' })).map(u => u.uid), ['bob-2'])
    t.same(await store.blocks('bob'), ['eve', 'mallory'])
    await store.setBlock('bob', 'eve', false)
    t.same(await store.blocks('bob'), ['mallory'])
    t.same(await store.session('bob/ü/b'), session('bob', 'ü/b'))
    t.equal(await store.session('bob/x'), undefined)
    t.same((await store.sessions({ limit: 9 })).map(s => s.session), ['bob-2/a', 'bob/a', 'bob/c:d', 'bob/ü/b'])
    t.same((await store.sessions({ limit: 2, user: 'bob', after: 'bob/a' })).map(s => s.session), ['bob/c:d', 'bob/ü/b'])

    await store.advance({ cursors: [{ session: 'bob/a', stream: direct, seq: 4, sent: 6 }, { session: 'bob/a', stream: 'e:bob', seq: 0, sent: 0 }, { session: 'bob/c:d', stream: direct, seq: 1, sent: 1 }], members: [], events: [] })
    await store.advance({ cursors: [{ session: 'bob/a', stream: direct, seq: 5, sent: 2 }, { session: 'bob/a', stream: direct, seq: 3, sent: 3 }], members: [], events: [] })
    t.same(await store.cursors('bob/a', [direct, 'e:bob', 'g:x']), [{ seq: 5, sent: 6 }, { seq: 0, sent: 0 }, undefined])
    await store.dropSession('bob/a')
    t.same(await store.cursors('bob/a', [direct]), [undefined])
    const again = await reopen()
    t.same(await again.cursors('bob/a', [direct]), [undefined])
    t.same(await again.cursors('bob/c:d', [direct]), [{ seq: 1, sent: 1 }])
    await again.dropUser('bob')
    t.equal(await again.user('bob'), undefined)
    t.same(await again.blocks('bob'), [])
    t.same(await again.sessions({ limit: 9, user: 'bob' }), [])
    t.same(await again.cursors('bob/c:d', [direct]), [undefined])
    t.same((await again.sessions({ limit: 9 })).map(s => s.session), ['bob-2/a'], 'the neighbour stays')
    t.same(await again.blocks('bob-2'), ['eve'])
    await again.dropUser('bob-2', { uid: 'bob-2', createdAt: 1, removedAt: 9 })
    t.same(await again.user('bob-2'), { uid: 'bob-2', createdAt: 1, removedAt: 9 }, 'what takes its place')
    t.same([await again.blocks('bob-2'), await again.sessions({ limit: 9, user: 'bob-2' })], [[], []])
    await Promise.all([again.putSession(session('al', 'x')), again.dropSession('al/y'), again.putSession(session('al', 'y'))])
    t.ok(await again.session('al/y'), 'put behind its removal')
    await Promise.all([again.putSession({ ...session('al', 'x'), clientId: 'old' }), again.putSession(session('al', 'y')), again.dropSession('al/y'), again.putSession(session('al', 'x'))])
    t.equal(await again.session('al/y'), undefined, 'removed behind its put')
    t.equal((await again.session('al/x'))?.clientId, 'x', 'the last one counts')
  })

  await t.test(`${name}: a session is changed as it was read`, async t => {
    const { store } = await open(t)
    const row: SessionRow = { session: 'al/x', user: 'al', clientId: 'x', subscriptions: [], inflight: [], expirySeconds: 60, createdAt: 1, connection: { epoch: 'one', proven: 0 } }
    t.equal(await store.putSession(row), true)
    const subscriptions = [{ filter: 'im/u/al/inbox', qos: 1 as const }]
    await store.advance({ cursors: [], members: [], events: [], connections: [{ session: 'al/x', epoch: 'one', proven: 9 }] })
    t.equal(await store.putSession({ ...row, subscriptions }, row), true)
    t.same(await store.session('al/x'), { ...row, subscriptions, connection: { epoch: 'one', proven: 9 } }, 'what was proven meanwhile stays')
    const ended = { ...row, subscriptions, expiresAt: 1000, expirySeconds: 70, connection: { epoch: 'one', proven: 12 } }
    t.equal(await store.putSession(ended, { ...row, subscriptions }), true)
    t.same(await store.session('al/x'), ended)
  })

  await t.test(`${name}: records`, async t => {
    const { store, reopen } = await open(t)
    const bytes = new Uint8Array([0, 255, 128, 10])
    await store.records.write([{ key: 'r/b', value: bytes }, { key: 'r/a', value: new Uint8Array() }, { key: 'r/é', value: bytes }, { key: 's', value: bytes }], true)
    await store.records.write([{ key: 'r/c', value: bytes }, { key: 's', value: null }], false)
    const again = await reopen()
    const range = async (from: string, to: string, limit?: number) => {
      const keys: string[] = []
      for await (const [key] of again.records.range(from, to, limit)) keys.push(key)
      return keys
    }
    t.same([...await again.records.get('r/b') ?? []], [...bytes])
    t.equal((await again.records.get('r/a'))?.length, 0)
    t.equal(await again.records.get('s'), undefined)
    t.same(await range('r/', 'r0'), ['r/a', 'r/b', 'r/c', 'r/é'])
    t.same(await range('r/a', 'r/c'), ['r/a', 'r/b'])
    t.same(await range('r/', 'r0', 1), ['r/a'])

    await t.test('create', async t => {
      const [one, two] = [new Uint8Array([1, 2]), new Uint8Array([3])]
      t.same([...await again.records.create('n/a', one)], [...one])
      t.same([...await again.records.create('n/a', two)], [...one], 'what was there')
      t.equal(await again.records.swap('n/a', two, one), false, 'it does not hold that')
      t.equal(await again.records.swap('n/c', one, two), false, 'nor is it there')
      t.same((await Promise.all([one, two].map(async () => await again.records.swap('n/a', one, two)))).sort(), [false, true], 'of two one')
      t.same([...await again.records.get('n/a') ?? []], [...two])
      t.equal(await again.records.swap('n/a', one, null), false)
      t.equal(await again.records.swap('n/a', two, null), true)
      t.equal(await again.records.get('n/a'), undefined)
      const made = await Promise.all([one, two].map(value => again.records.create('n/b', value)))
      t.same(made.map(value => [...value]), [[...one], [...one]], 'the first one counts')
      const [, kept, , anew] = await Promise.all([
        again.records.write([{ key: 'n/c', value: one }], false), again.records.create('n/c', two),
        again.records.write([{ key: 'n/c', value: null }], false), again.records.create('n/c', two)
      ])
      t.same([[...kept], [...anew]], [[...one], [...two]], 'in the order of the calls')
      t.equal((await again.records.create('n/d', new Uint8Array())).length, 0)
      const last = await reopen()
      t.equal(await last.records.get('n/a'), undefined)
      t.same([...await last.records.get('n/c') ?? []], [...two])
    })
  })
}
