/** What every store promises: the suite that each backend runs. Groups, purge, events and the rest are in `store-contract-rest.ts`. */
import type { Test } from 'tap'
import type { ConnectionMark, NewMessage, Outcome, Resend, Store, StoredMessage } from '../../broker/store/store.ts'
import { append, direct, group, join, message, seqs, unread } from './operations.ts'
import type { Open } from './operations.ts'
import { feed } from './feed-contract.ts'
import { rest } from './store-contract-rest.ts'

/** `hasFeed`: false where others that share the store see its readers later, or its feed is that of another run. `members`: of a large group. */
export async function contract (t: Test, name: string, open: Open, { hasFeed = true, members = 10_000 } = {}): Promise<void> {
  await t.test(`${name}: the log`, async t => {
    await t.test('a message is numbered, stored and read back as it was', async t => {
      const { store, reopen } = await open(t)
      const op = message(direct, 'alice', { cid: 'a b|c é 😀', expiresAt: 99, content: '"body":"grüße | 😀"' })
      t.same(await append(store, op), [{ seq: 1, n: 1, id: op.id, ts: op.ts, replay: false }])
      const stored: StoredMessage = { seq: 1, n: 1, counts: true, id: op.id, from: 'alice', ts: op.ts, expiresAt: 99, content: op.content }
      t.strictSame(await store.messages(direct, { limit: 10 }), [stored])
      t.strictSame(await store.messagesAt([{ conv: direct, seq: 1 }, { conv: direct, seq: 2 }, { conv: 'd:x:y', seq: 1 }]), [stored, undefined, undefined])
      t.strictSame(await store.heads([direct, 'd:x:y']), [{ seq: 1, n: 1, ts: op.ts, expiring: 1 }, undefined])
      const again = await reopen()
      t.strictSame(await again.messages(direct, { limit: 10 }), [stored])
    })

    await t.test('numbers have no gap and keep the order of arrival, also over overlapping commits', async t => {
      const { store, reopen } = await open(t)
      const batches = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        store.commit([message(direct, 'alice', { id: `x${i}` }), message('d:alice:carol', 'alice'), message(direct, 'bob', { id: `y${i}` })])))
      t.same(batches.map(b => [b[0]?.seq, b[1]?.seq, b[2]?.seq]), Array.from({ length: 20 }, (_, i) => [2 * i + 1, i + 1, 2 * i + 2]))
      const expected = Array.from({ length: 20 }, (_, i) => [`x${i}`, `y${i}`]).flat()
      t.same((await store.messages(direct, { limit: 100 })).map(m => m.id), expected)
      const again = await reopen()
      t.same((await again.commit([message(direct, 'bob')]))[0]?.seq, 41)
    })

    await t.test('ranges, edges and limits', async t => {
      const { store } = await open(t)
      await store.commit(Array.from({ length: 50 }, () => message(direct, 'alice', { content: '"b":"12345"' })))
      await append(store, message('d:alice:bob-2', 'alice'), message('d:alice:bo', 'alice'))
      t.same(seqs(await store.messages(direct, { limit: 3 })), [1, 2, 3])
      t.same(seqs(await store.messages(direct, { limit: 3, newest: true })), [48, 49, 50])
      t.same(seqs(await store.messages(direct, { after: 9, before: 13, limit: 100 })), [10, 11, 12])
      t.same(seqs(await store.messages(direct, { after: 34, before: 38, limit: 2, newest: true })), [36, 37])
      t.same(await store.messages(direct, { after: 50, limit: 5 }), [])
      t.same(await store.messages(direct, { after: 5, before: 6, limit: 5 }), [])
      t.same(await store.messages(direct, { before: 1, limit: 5 }), [])
      t.same(await store.messages(direct, { limit: 0 }), [])
      t.same(await store.messages('d:no:one', { limit: 5 }), [])
      t.same((await store.messages(direct, { limit: 500 })).length, 50)
      t.same(seqs(await store.messages(direct, { limit: 50, maxBytes: 33 })), [1, 2, 3], 'as many as fit')
      t.same(seqs(await store.messages(direct, { limit: 50, maxBytes: 33, newest: true })), [48, 49, 50])
      t.same(seqs(await store.messages(direct, { limit: 50, maxBytes: 1 })), [1], 'one at least')
    })

    await t.test('large batches and contents', async t => {
      const { store, reopen } = await open(t)
      const big = `"body":"${'😀x'.repeat(60_000)}"`
      const out = await store.commit(Array.from({ length: 2000 }, (_, i) => message(`d:a${i % 7}:b`, 'b', i === 1000 ? { content: big } : {})))
      t.same(new Set(out.filter((_, i) => i % 7 === 3).map(o => o.seq)).size, 286)
      const again = await reopen()
      t.equal((await again.messages('d:a6:b', { limit: 500 }))[142]?.content, big)
    })

    await t.test('a message that does not count raises seq and not n', async t => {
      const { store } = await open(t)
      t.match(await append(store, message(direct, 'alice'), message(direct, 'alice', { counts: false, marksSender: false }), message(direct, 'alice')),
        [{ seq: 1, n: 1 }, { seq: 2, n: 1 }, { seq: 3, n: 2 }])
      t.same((await store.messages(direct, { limit: 9 })).map(m => [m.n, m.counts]), [[1, true], [1, false], [2, true]])
    })

    await t.test('ids that are names of an object are ordinary', async t => {
      const { store } = await open(t)
      const conv = 'd:..:__proto__'
      await append(store, message(conv, '__proto__', { cid: '__proto__' }), message('d:constructor:toString', 'toString'))
      t.equal(await unread(store, '..', conv), 1)
      t.same((await store.memberships('__proto__', { limit: 9 })).map(m => m.conv), [conv])
    })

    await t.test('an empty commit is nothing', async t => {
      const { store } = await open(t)
      t.same(await store.commit([]), [])
    })
  })

  await t.test(`${name}: idempotency`, async t => {
    await t.test('the same cid twice in one batch, in overlapping commits, and after a restart', async t => {
      const { store, reopen } = await open(t)
      const first = message(direct, 'alice', { cid: 'k' })
      const second = message(direct, 'alice', { cid: 'k' })
      const replay = { seq: 1, n: 1, id: first.id, ts: first.ts, replay: true }
      const [[a, b], [c]] = await Promise.all([store.commit([first, second]), store.commit([message(direct, 'alice', { cid: 'k' })])]) as [[Outcome, Outcome], [Outcome]]
      t.same([a, b, c], [{ ...replay, replay: false }, replay, replay])
      const again = await reopen()
      t.same(await append(again, message(direct, 'alice', { cid: 'k' })), [replay])
      t.same(seqs(await again.messages(direct, { limit: 9 })), [1])
      t.match(await append(again, message(direct, 'bob', { cid: 'k' }), message('d:alice:carol', 'alice', { cid: 'k' })),
        [{ seq: 2, replay: false }, { seq: 1, replay: false }], 'unique per conversation and sender')
    })

    await t.test('a repeat in the batch of its first is told nothing of what the first did to marks', async t => {
      const { store } = await open(t)
      const first = message(direct, 'alice', { cid: 'k' })
      const stored = { seq: 2, n: 2, id: first.id, ts: first.ts }
      await append(store, message(direct, 'bob'))
      const [one, again] = await append(store, first, message(direct, 'alice', { cid: 'k' }))
      t.match(one, { ...stored, replay: false, passed: true })
      t.strictSame(again, { ...stored, replay: true })
      t.strictSame(await append(store, message(direct, 'alice', { cid: 'k' })), [{ ...stored, replay: true }])
    })

    await t.test('a DUP with the remembered digest is the first one', async t => {
      const { store, reopen } = await open(t)
      const resend = { session: 'alice/ph:one', packetId: 7, digest: 'd 1|', dup: false, epoch: 'first', number: 1, proven: 0 }
      const first = message(direct, 'alice', { resend })
      const replay = { seq: 1, n: 1, id: first.id, ts: first.ts, replay: true }
      t.match(await append(store, first, message(direct, 'alice', { resend: { ...resend, dup: true } })), [{ replay: false }, replay], 'in one batch')
      const again = await reopen()
      t.same(await append(again, message(direct, 'alice', { resend: { ...resend, dup: true } })), [replay], 'after a restart')
      t.match(await append(again, message(direct, 'alice', { resend: { ...resend, digest: 'd2', dup: true } })), [{ seq: 2, replay: false }], 'another digest')
      t.match(await append(again, message(direct, 'alice', { resend: { ...resend, digest: 'd2', packetId: 8, dup: true } })), [{ seq: 3, replay: false }], 'another packet id')
      t.match(await append(again, message(direct, 'alice', { resend: { ...resend, digest: 'd2' } })), [{ seq: 4, replay: false }], 'not DUP: a new message')
      t.match(await append(again, message(direct, 'alice', { resend: { ...resend, digest: 'd2', dup: true } })), [{ seq: 4, replay: true }])
    })

    await t.test('a DUP is the first one only while the answer to that is in doubt', async t => {
      const { store, reopen } = await open(t)
      const session = 'alice/p'
      const sent = (epoch: string, number: number, more: Partial<Resend> = {}): NewMessage =>
        message(direct, 'alice', { resend: { session, packetId: 1, digest: 'd', dup: true, epoch, number, proven: 0, ...more } })
      await append(store, sent('first', 3, { dup: false }))
      t.match(await append(store, sent('first', 4, { proven: 3 })), [{ seq: 2, replay: false }], 'the client is known to have the answer')
      t.match(await append(store, sent('first', 5, { proven: 3 })), [{ seq: 2, replay: true }], 'not to this one')
      t.match(await append(store, sent('second', 1)), [{ seq: 3, replay: false }], 'not the connection before')
      t.match(await append(store, sent('third', 1, { last: { epoch: 'second', proven: 1 } })), [{ seq: 4, replay: false }], 'the last connection, answered')
      t.match(await append(store, sent('fourth', 1, { last: { epoch: 'third', proven: 0 } })), [{ seq: 4, replay: true }], 'the last connection, in doubt')
      const again = await reopen()
      t.match(await append(again, sent('fifth', 1, { last: { epoch: 'fourth', proven: 0 } })), [{ seq: 4, replay: true }], 'the answer to a repeat is in doubt as well')
      t.match(await append(again, sent('sixth', 1, { last: { epoch: 'fourth', proven: 0 } })), [{ seq: 5, replay: false }], 'a connection came between')
      t.match(await append(again, sent('sixth', 2, { dup: false }), sent('seventh', 1, { last: { epoch: 'sixth', proven: 0 } })), [{ seq: 6, replay: false }, { seq: 6, replay: true }], 'both in one batch')
      t.match(await append(again, sent('eighth', 1, { last: { epoch: 'seventh', proven: 0 } })), [{ seq: 6, replay: true }])
    })

    await t.test('connections that answered nothing do not count', async t => {
      const { store, reopen } = await open(t)
      const mark = (epoch: string, proven = 0): ConnectionMark => ({ epoch, proven })
      const sent = (epoch: string, number: number, last: ConnectionMark | undefined, earlier: ConnectionMark[], more: Partial<Resend> = {}): NewMessage =>
        message(direct, 'alice', { resend: { session: 'alice/p', packetId: 1, digest: 'd', dup: true, epoch, number, proven: 0, ...last === undefined ? {} : { last }, earlier, ...more } })
      await append(store, sent('one', 3, undefined, [], { dup: false }))
      t.match(await append(store, sent('four', 1, mark('three'), [mark('two'), mark('one')])), [{ seq: 1, replay: true }])
      const again = await reopen()
      t.match(await append(again, sent('five', 1, mark('four'), [])), [{ seq: 1, replay: true }], 'its memory has moved')
      t.match(await append(again, sent('eight', 1, mark('seven'), [mark('six')])), [{ seq: 2, replay: false }], 'none of them is that of the memory')
      t.match(await append(again, sent('ten', 1, mark('nine'), [mark('eight', 1)])), [{ seq: 3, replay: false }], 'the client is known to have the answer')
      t.match(await append(again, sent('eleven', 1, mark('ten'), [], { digest: 'other', dup: false })), [{ seq: 4, replay: false }])
      t.match(await append(again, sent('thirteen', 1, mark('twelve'), [mark('eleven'), mark('ten')])), [{ seq: 5, replay: false }], 'another message was the last one of the packet id')
      t.match(await append(again, sent('fifteen', 1, mark('fourteen'), [mark('thirteen')], { digest: 'other' })), [{ seq: 6, replay: false }], 'other content')
    })

    await t.test('how far a client has its answers', async t => {
      const { store, reopen } = await open(t)
      const row = { session: 'alice/p', user: 'alice', clientId: 'p', subscriptions: [], inflight: [], expirySeconds: 60, createdAt: 1 }
      await store.putSession({ ...row, connection: { epoch: 'one', proven: 2 } })
      const prove = async (epoch: string, proven: number): Promise<void> => {
        await store.advance({ cursors: [], members: [], events: [], connections: [{ session: 'alice/p', epoch, proven }, { session: 'nobody/p', epoch, proven }] })
      }
      await prove('one', 7)
      t.same((await store.session('alice/p'))?.connection, { epoch: 'one', proven: 7 })
      await store.putSession({ ...row, connection: { epoch: 'two', proven: 0 } })
      t.same((await store.session('alice/p'))?.connection, { epoch: 'two', proven: 0 }, 'a new connection begins anew')
      await prove('one', 9)
      t.same((await store.session('alice/p'))?.connection, { epoch: 'two', proven: 0 }, 'what comes late of an earlier one changes nothing')
      await prove('two', 3)
      const again = await reopen()
      t.same((await again.session('alice/p'))?.connection, { epoch: 'two', proven: 3 })
      t.equal(await again.session('nobody/p'), undefined)
    })

    await t.test('the memory of a packet id ends', async t => {
      const { store } = await open(t)
      const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
      const day = 86_400_000
      const { ts } = message(direct, 'alice')
      await append(store, message(direct, 'alice', { resend, ts }))
      t.match(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: ts + day - 1 })), [{ seq: 1, replay: true }])
      t.match(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: ts + day })), [{ seq: 2, replay: false }])
    })
  })

  await t.test(`${name}: members`, async t => {
    await t.test('the first message of a direct conversation makes both its members', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'alice'), message('d:carol:carol', 'carol'))
      const fresh = { joinedSeq: 0, clearedSeq: 0, hiddenUnread: 0, muted: false, pinned: false, conv: direct }
      t.strictSame(await store.member('alice', direct), { ...fresh, user: 'alice', readSeq: 1, readN: 1, deliveredSeq: 1, posted: true })
      t.strictSame(await store.member('bob', direct), { ...fresh, user: 'bob', readSeq: 0, readN: 0, deliveredSeq: 0 })
      t.equal(await store.member('carol', direct), undefined)
      t.equal(await unread(store, 'carol', 'd:carol:carol'), 0)
      t.same((await store.memberships('carol', { limit: 5 })).length, 1)
    })

    await t.test('sending marks one\'s own conversation read, and delivered where nothing was missing', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'bob'), message(direct, 'alice'), message(direct, 'alice', { marksSender: false }))
      t.match(await store.member('alice', direct), { readSeq: 2, readN: 2, deliveredSeq: 0 })
      t.match(await store.member('bob', direct), { readSeq: 1, deliveredSeq: 1 })
      t.same([await unread(store, 'alice', direct), await unread(store, 'bob', direct)], [1, 2])
    })

    await t.test('who has sent a message in a conversation, their row says', async t => {
      const { store, reopen } = await open(t)
      await append(store, message(direct, 'alice'))
      t.match(await store.membersAt([{ user: 'alice', conv: direct }, { user: 'bob', conv: direct }]), [{ posted: true }, { posted: undefined }])
      await store.settings('bob', direct, { muted: true })
      await store.clear('alice', direct)
      const again = await reopen()
      t.match([await again.member('alice', direct), await again.member('bob', direct)], [{ posted: true, clearedSeq: 1 }, { posted: undefined, muted: true }])
      await append(again, message(direct, 'bob'))
      t.match(await again.member('bob', direct), { posted: true, muted: true })
    })

    await t.test('watermarks move forward only, and not beyond the head', async t => {
      const { store, reopen } = await open(t)
      await append(store, message(direct, 'alice'), message(direct, 'alice', { counts: false }), message(direct, 'alice'), message(direct, 'alice'))
      const bob = (marks: { readSeq?: number, deliveredSeq?: number }) => store.advance({ cursors: [], members: [{ user: 'bob', conv: direct, ...marks }], events: [] })
      t.match(await bob({ readSeq: 2, deliveredSeq: 3 }), [{ user: 'bob', conv: direct, read: true, delivered: true, row: { readSeq: 2, readN: 1, deliveredSeq: 3 } }])
      t.equal(await unread(store, 'bob', direct), 2)
      t.same(await bob({ readSeq: 1, deliveredSeq: 3 }), [])
      t.match(await bob({ deliveredSeq: 99 }), [{ read: false, delivered: true, row: { deliveredSeq: 4, readSeq: 2 } }])
      t.match(await bob({ readSeq: 99 }), [{ read: true, delivered: false, row: { readSeq: 4, readN: 3 } }])
      t.same(await store.advance({ cursors: [], members: [{ user: 'eve', conv: direct, readSeq: 1 }, { user: 'bob', conv: 'd:bob:x', readSeq: 1 }], events: [] }), [])
      t.match(await (await reopen()).member('bob', direct), { readSeq: 4, readN: 3, deliveredSeq: 4 })
    })

    await t.test('what a user hides is hidden for them alone, and not unread', async t => {
      const { store, reopen } = await open(t)
      await append(store, ...Array.from({ length: 6 }, (_, i) => message(direct, 'alice', { counts: i !== 2 })))
      await store.advance({ cursors: [], members: [{ user: 'bob', conv: direct, readSeq: 1 }], events: [] })
      t.equal(await store.hide('bob', direct, [1, 2, 2, 3, 5, 77, 0, -1, 1.5]), 4)
      t.equal(await store.hide('bob', direct, [5, 6]), 1, 'again: only the new one')
      t.equal(await store.hide('eve', direct, [1]), 0, 'no member')
      t.same(await store.hidden('bob', direct, 0, 99), [1, 2, 3, 5, 6])
      t.same(await store.hidden('bob', direct, 2, 5), [3, 5])
      t.same(await store.hidden('alice', direct, 0, 99), [])
      t.match(await store.member('bob', direct), { hiddenUnread: 3 }, 'not the read one, not the one that does not count')
      t.equal(await unread(store, 'bob', direct), 1)
      await store.advance({ cursors: [], members: [{ user: 'bob', conv: direct, readSeq: 4 }], events: [] })
      t.match(await store.member('bob', direct), { hiddenUnread: 2 })
      t.equal(await unread(store, 'bob', direct), 0)
      const again = await reopen()
      t.match(await again.member('bob', direct), { hiddenUnread: 2 })
      await append(again, message(direct, 'bob'))
      t.match(await again.member('bob', direct), { hiddenUnread: 0, readSeq: 7 })
      t.same((await again.messages(direct, { limit: 9 })).length, 7, 'the log keeps them')
    })

    await t.test('clear hides, reads and delivers everything up to the head', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'alice'), message(direct, 'alice'))
      await store.hide('bob', direct, [1])
      await store.clear('bob', direct)
      t.match(await store.member('bob', direct), { clearedSeq: 2, readSeq: 2, readN: 2, deliveredSeq: 2, hiddenUnread: 0 })
      t.same(await store.hidden('bob', direct, 0, 9), [])
      t.equal(await store.hide('bob', direct, [2]), 0, 'hidden already')
      t.match(await store.member('alice', direct), { clearedSeq: 0 })
      await store.clear('eve', direct)
      t.equal(await store.member('eve', direct), undefined)
    })

    await t.test('settings', async t => {
      const { store, reopen } = await open(t)
      await append(store, message(direct, 'alice'))
      await store.settings('bob', direct, { muted: true })
      await store.settings('bob', direct, { pinned: true })
      t.match(await store.member('bob', direct), { muted: true, pinned: true })
      await store.settings('bob', direct, { muted: false })
      await store.settings('eve', direct, { muted: true })
      t.equal(await store.member('eve', direct), undefined)
      t.match(await (await reopen()).member('bob', direct), { muted: false, pinned: true })
    })

    await t.test('many rows at once are the rows one by one', async t => {
      const { store, reopen } = await open(t)
      await append(store, group('dev'), group('ops'), join('dev', 'bob'), message('d:bob:x', 'x'), message(direct, 'alice'), message(direct, 'alice'), message('g:dev', 'x'))
      await store.hide('bob', direct, [1])
      const at = [{ user: 'bob', conv: direct }, { user: 'x', conv: direct }, { user: 'alice', conv: direct }, { user: 'bob', conv: 'd:bob:nobody' }, { user: 'bob', conv: 'g:dev' }]
      const messages = [{ conv: direct, seq: 2 }, { conv: direct, seq: 1 }, { conv: 'd:bob:x', seq: 1 }, { conv: 'd:bob:nobody', seq: 1 }, { conv: direct, seq: 0 }]
      for (const opened of [async () => store, reopen]) {
        const one = await opened()
        const rows = await one.membersAt(at)
        t.strictSame(rows, await Promise.all(at.map(({ user, conv }) => one.member(user, conv))))
        t.same(rows.map(row => row?.user), ['bob', undefined, 'alice', undefined, 'bob'])
        t.strictSame(await one.groupsAt(['ops', 'nope', 'dev', 'ops']), [await one.group('ops'), undefined, await one.group('dev'), await one.group('ops')])
        t.same(await one.hiddenAt('bob', messages), [false, true, false, false, false])
        t.same(await one.hiddenAt('alice', messages), [false, false, false, false, false])
        t.same([await one.membersAt([]), await one.groupsAt([]), await one.hiddenAt('bob', [])], [[], [], []])
      }
    })

    await t.test('conversations with their heads follow what comes, goes and is purged', async t => {
      const { store } = await open(t)
      const check = async (expected: string[], why: string) => {
        // Twice: what was remembered is as good as what was read.
        for (let i = 0; i < 2; i++) {
          const all = await store.conversations('bob', { limit: 99 })
          t.same(all.map(one => one.member.conv), expected, why)
          t.strictSame(all.map(one => one.member), await store.memberships('bob', { limit: 99 }))
          t.same(all.map(one => one.head), (await store.heads(expected)).map(head => head ?? { seq: 0, n: 0, ts: 0 }))
        }
      }
      await check([], 'nothing')
      await append(store, message(direct, 'alice', { ts: 10 }), message(direct, 'alice', { ts: 20 }))
      await check([direct], 'a first message')
      await append(store, group('dev'), join('dev', 'bob'))
      await check([direct, 'g:dev'], 'a group without messages')
      await append(store, message('d:bob:x', 'bob', { ts: 30 }))
      await check([direct, 'd:bob:x', 'g:dev'], 'another')
      t.same((await store.conversations('bob', { limit: 2 })).map(one => one.member.conv), [direct, 'd:bob:x'])
      t.same((await store.conversations('bob', { limit: 2, after: direct })).map(one => one.member.conv), ['d:bob:x', 'g:dev'])
      t.same(await store.conversations('bob', { limit: 2, after: 'g:dev' }), [])
      await store.settings('bob', direct, { pinned: true })
      await store.advance({ cursors: [], members: [{ user: 'bob', conv: direct, readSeq: 1 }], events: [] })
      await check([direct, 'd:bob:x', 'g:dev'], 'marks and settings')
      await store.purge(25, 99)
      await check([direct, 'd:bob:x', 'g:dev'], 'purged')
      await append(store, { op: 'member.drop', gid: 'dev', user: 'bob' })
      await check([direct, 'd:bob:x'], 'left')
      await append(store, join('dev', 'bob'))
      await check([direct, 'd:bob:x', 'g:dev'], 'came back')
      await append(store, { op: 'group.drop', gid: 'dev' })
      await check([direct, 'd:bob:x'], 'the group is gone')
    })

    await t.test('the newest message is the newest, whatever was asked before', async t => {
      const { store } = await open(t)
      const at = async (seq: number) => (await store.messagesAt([{ conv: direct, seq }]))[0]?.id
      const [first, second] = [message(direct, 'alice', { ts: 10 }), message(direct, 'bob', { ts: 20 })]
      await append(store, first)
      t.same([await at(1), await at(1)], [first.id, first.id])
      await append(store, second)
      t.same([await at(1), await at(2), await at(2), await at(3)], [first.id, second.id, second.id, undefined])
      const found = await store.messagesAt([{ conv: direct, seq: 2 }])
      ;(found[0] as StoredMessage).content = 'changed by its reader'
      t.equal((await store.messagesAt([{ conv: direct, seq: 2 }]))[0]?.content, second.content)
      await store.purge(25, 99)
      t.same([await at(1), await at(2)], [undefined, undefined])
    })

    await t.test('the list of conversations, in pages and by kind', async t => {
      const { store } = await open(t)
      await append(store, group('b'), join('b', 'bob'), group('a'), join('a', 'bob'), group('a-b'), join('a-b', 'bob'),
        message('d:bob:x', 'x'), message('d:a:bob', 'a'), message('d:bob:bob', 'bob'), message('d:bob-2:x', 'x'))
      const list = async (page: Parameters<Store['memberships']>[1]) => (await store.memberships('bob', page)).map(m => m.conv)
      t.same(await list({ limit: 99 }), ['d:a:bob', 'd:bob:bob', 'd:bob:x', 'g:a', 'g:a-b', 'g:b'])
      t.same(await list({ limit: 2 }), ['d:a:bob', 'd:bob:bob'])
      t.same(await list({ limit: 2, after: 'd:bob:bob' }), ['d:bob:x', 'g:a'])
      t.same(await list({ limit: 9, kind: 'd' }), ['d:a:bob', 'd:bob:bob', 'd:bob:x'])
      t.same(await list({ limit: 9, kind: 'g', after: 'g:a' }), ['g:a-b', 'g:b'])
      t.same(await list({ limit: 9, kind: 'g', after: 'd:a:bob' }), ['g:a', 'g:a-b', 'g:b'])
      t.same(await list({ limit: 9, kind: 'd', after: 'g:a' }), [])
    })
  })

  await rest(t, name, open, members)
  if (hasFeed) await feed(t, name, open)

  await t.test(`${name}: the end`, async t => {
    const { store } = await open(t)
    await store.health()
    const last = store.commit([message(direct, 'alice')])
    const closed = store.close()
    t.match(await last, [{ seq: 1 }], 'what was in flight is done')
    await closed
    await store.close()
    await t.rejects(store.commit([message(direct, 'alice')]))
    await t.rejects(store.health())
    await t.rejects(store.heads(['d:other:one']))
  })
}
