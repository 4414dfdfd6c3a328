/** What every store promises: the suite that each backend runs. */
import type { Test } from 'tap'
import type { NewMessage, Operation, Outcome, SessionRow, Store, StoredMessage } from '../../broker/store/store.ts'

/**
 * Opens the store of one test. `reopen` closes it and opens the same data again, as after a restart;
 * `freshPath` names a folder that is not there.
 */
export interface Opened { store: Store, reopen: () => Promise<Store>, freshPath: (name: string) => string }
export type Open = (t: Test) => Promise<Opened>

let made = 0

/** A message of `from` in `conv` with an id of its own. */
export function message (conv: string, from: string, more: Partial<NewMessage> = {}): NewMessage {
  made++
  return { op: 'message', conv, from, id: `id-${made}`, ts: 1_790_000_000_000 + made, counts: true, marksSender: true, content: `"body":"${made}"`, ...more }
}

/** Unread of a user in a conversation, as the contract derives it. */
export async function unread (store: Store, user: string, conv: string): Promise<number> {
  const [head] = await store.heads([conv])
  const row = await store.member(user, conv)
  return row === undefined || head === undefined ? 0 : head.n - row.readN - row.hiddenUnread
}

async function append (store: Store, ...operations: Operation[]): Promise<Outcome[]> { return await store.commit(operations) }
function seqs (rows: Array<{ seq: number }>): number[] { return rows.map(row => row.seq) }
function group (gid: string): Operation {
  return { op: 'group', group: { gid, name: gid.toUpperCase(), owner: 'alice', createdAt: 5, meta: { color: 'red' } } }
}
function join (gid: string, user: string): Operation { return { op: 'member', gid, user, role: 'member' } }
const direct = 'd:alice:bob'

export function contract (t: Test, name: string, open: Open): void {
  t.test(`${name}: the log`, async t => {
    t.test('a message is numbered, stored and read back as it was', async t => {
      const { store, reopen } = await open(t)
      const op = message(direct, 'alice', { cid: 'a b|c é 😀', expiresAt: 99, content: '"body":"grüße | 😀"' })
      t.same(await append(store, op), [{ seq: 1, n: 1, id: op.id, ts: op.ts, replay: false }])
      const stored: StoredMessage = { seq: 1, n: 1, counts: true, id: op.id, from: 'alice', ts: op.ts, expiresAt: 99, content: op.content }
      t.strictSame(await store.messages(direct, { limit: 10 }), [stored])
      t.strictSame(await store.messagesAt([{ conv: direct, seq: 1 }, { conv: direct, seq: 2 }, { conv: 'd:x:y', seq: 1 }]), [stored, undefined, undefined])
      t.strictSame(await store.heads([direct, 'd:x:y']), [{ seq: 1, n: 1, ts: op.ts }, undefined])
      const again = await reopen()
      t.strictSame(await again.messages(direct, { limit: 10 }), [stored])
    })

    t.test('numbers have no gap and keep the order of arrival, also over overlapping commits', async t => {
      const { store, reopen } = await open(t)
      const batches = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        store.commit([message(direct, 'alice', { id: `x${i}` }), message('d:alice:carol', 'alice'), message(direct, 'bob', { id: `y${i}` })])))
      t.same(batches.map(b => [b[0]?.seq, b[1]?.seq, b[2]?.seq]), Array.from({ length: 20 }, (_, i) => [2 * i + 1, i + 1, 2 * i + 2]))
      const expected = Array.from({ length: 20 }, (_, i) => [`x${i}`, `y${i}`]).flat()
      t.same((await store.messages(direct, { limit: 100 })).map(m => m.id), expected)
      const again = await reopen()
      t.same((await again.commit([message(direct, 'bob')]))[0]?.seq, 41)
    })

    t.test('ranges, edges and limits', async t => {
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

    t.test('large batches and contents', async t => {
      const { store, reopen } = await open(t)
      const big = `"body":"${'😀x'.repeat(60_000)}"`
      const out = await store.commit(Array.from({ length: 2000 }, (_, i) => message(`d:a${i % 7}:b`, 'b', i === 1000 ? { content: big } : {})))
      t.same(new Set(out.filter((_, i) => i % 7 === 3).map(o => o.seq)).size, 286)
      const again = await reopen()
      t.equal((await again.messages('d:a6:b', { limit: 500 }))[142]?.content, big)
    })

    t.test('a message that does not count raises seq and not n', async t => {
      const { store } = await open(t)
      t.match(await append(store, message(direct, 'alice'), message(direct, 'alice', { counts: false, marksSender: false }), message(direct, 'alice')),
        [{ seq: 1, n: 1 }, { seq: 2, n: 1 }, { seq: 3, n: 2 }])
      t.same((await store.messages(direct, { limit: 9 })).map(m => [m.n, m.counts]), [[1, true], [1, false], [2, true]])
    })

    t.test('ids that are names of an object are ordinary', async t => {
      const { store } = await open(t)
      const conv = 'd:..:__proto__'
      await append(store, message(conv, '__proto__', { cid: '__proto__' }), message('d:constructor:toString', 'toString'))
      t.equal(await unread(store, '..', conv), 1)
      t.same((await store.memberships('__proto__', { limit: 9 })).map(m => m.conv), [conv])
    })

    t.test('an empty commit is nothing', async t => {
      const { store } = await open(t)
      t.same(await store.commit([]), [])
    })
  })

  t.test(`${name}: idempotency`, async t => {
    t.test('the same cid twice in one batch, in overlapping commits, and after a restart', async t => {
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

    t.test('a DUP with the remembered digest is the first one', async t => {
      const { store, reopen } = await open(t)
      const resend = { session: 'alice/ph:one', packetId: 7, digest: 'd 1|', dup: false }
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

    t.test('the memory of a packet id ends', async t => {
      const { store } = await open(t)
      const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false }
      const day = 86_400_000
      const { ts } = message(direct, 'alice')
      await append(store, message(direct, 'alice', { resend, ts }))
      t.match(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: ts + day - 1 })), [{ seq: 1, replay: true }])
      t.match(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: ts + day })), [{ seq: 2, replay: false }])
    })
  })

  t.test(`${name}: members`, async t => {
    t.test('the first message of a direct conversation makes both its members', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'alice'), message('d:carol:carol', 'carol'))
      const fresh = { joinedSeq: 0, clearedSeq: 0, hiddenUnread: 0, muted: false, pinned: false, conv: direct }
      t.strictSame(await store.member('alice', direct), { ...fresh, user: 'alice', readSeq: 1, readN: 1, deliveredSeq: 1 })
      t.strictSame(await store.member('bob', direct), { ...fresh, user: 'bob', readSeq: 0, readN: 0, deliveredSeq: 0 })
      t.equal(await store.member('carol', direct), undefined)
      t.equal(await unread(store, 'carol', 'd:carol:carol'), 0)
      t.same((await store.memberships('carol', { limit: 5 })).length, 1)
    })

    t.test('sending marks one\'s own conversation read, and delivered where nothing was missing', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'bob'), message(direct, 'alice'), message(direct, 'alice', { marksSender: false }))
      t.match(await store.member('alice', direct), { readSeq: 2, readN: 2, deliveredSeq: 0 })
      t.match(await store.member('bob', direct), { readSeq: 1, deliveredSeq: 1 })
      t.same([await unread(store, 'alice', direct), await unread(store, 'bob', direct)], [1, 2])
    })

    t.test('watermarks move forward only, and not beyond the head', async t => {
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

    t.test('what a user hides is hidden for them alone, and not unread', async t => {
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

    t.test('clear hides, reads and delivers everything up to the head', async t => {
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

    t.test('settings', async t => {
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

    t.test('the list of conversations, in pages and by kind', async t => {
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

  t.test(`${name}: groups`, async t => {
    t.test('come, are described, list their members', async t => {
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

    t.test('history starts when one joins, also in the middle of a batch', async t => {
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

    t.test('leaving removes both sides and what was hidden', async t => {
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

    t.test('a removed group leaves nothing to one of the same id', async t => {
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

    t.test('a group message writes one row for 10,000 members', async t => {
      const { store } = await open(t)
      const users = Array.from({ length: 10_000 }, (_, i) => `u${i}`)
      await store.commit([group('big'), ...users.map(user => join('big', user))])
      t.equal(await store.groupSize('big'), 10_000)
      await append(store, message('g:big', 'u1'))
      t.same([await unread(store, 'u1', 'g:big'), await unread(store, 'u9999', 'g:big')], [0, 1])
      await append(store, { op: 'group.drop', gid: 'big' })
      t.equal(await store.member('u9999', 'g:big'), undefined)
      t.equal(await store.groupSize('big'), 0)
    })
  })

  t.test(`${name}: purge`, async t => {
    t.test('removes the oldest, with keys and deletions, and never goes back', async t => {
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

    t.test('a DUP of a purged message is answered with its number', async t => {
      const { store } = await open(t)
      const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false }
      const first = message(direct, 'alice', { resend, ts: Date.now() })
      await append(store, first)
      t.equal(await store.purge(Date.now() + 1000, 9), 1)
      t.same(await append(store, message(direct, 'alice', { resend: { ...resend, dup: true }, ts: Date.now() })), [{ seq: 1, n: 1, id: first.id, ts: first.ts, replay: true }])
    })

    t.test('a long log goes in steps', async t => {
      const { store } = await open(t)
      await store.commit(Array.from({ length: 1700 }, (_, i) => message(direct, 'alice', { ts: i })))
      t.equal(await store.purge(1650, 1000), 1000)
      t.equal(await store.purge(1650, 1000), 650)
      t.same((await store.messages(direct, { limit: 1 }))[0]?.seq, 1651)
    })
  })

  t.test(`${name}: event log`, async t => {
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

  t.test(`${name}: users, blocks, sessions`, async t => {
    const { store, reopen } = await open(t)
    const session = (user: string, clientId: string): SessionRow => ({
      session: `${user}/${clientId}`,
      user,
      clientId,
      subscriptions: [{ filter: 'im/u/bob/#', qos: 1 }],
      inflight: [{ packetId: 3, stream: 'd:a:b', seq: 9 }],
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
  })

  t.test(`${name}: records`, async t => {
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
  })

  t.test(`${name}: the end`, async t => {
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
