/** The feed's readers: who is let in, what they are given, how they are woken, and what a bad one costs. */
import t from 'tap'
import type { Test } from 'tap'
import { pino } from 'pino'
import { Feed, defaultFeedOptions } from '../../broker/engine/feed/feed.ts'
import type { FeedOptions } from '../../broker/engine/feed/feed.ts'
import { follow } from '../../broker/engine/feed/follower.ts'
import { feedEntries, feedRefs, feedRow } from '../../broker/store/feed-rows.ts'
import type { FeedEntry } from '../../broker/store/feed.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { direct, message } from '../contract/operations.ts'

interface Lines { lines: Array<Record<string, unknown>> }

async function world (t: Test, options: Partial<FeedOptions> = {}): Promise<Lines & { store: Store, feed: Feed, send: (count?: number) => Promise<void> }> {
  const store = await openLevelStore({ path: t.testdir() + '/store' })
  const lines: Lines['lines'] = []
  const log = pino({ level: 'info' }, { write: text => { lines.push(JSON.parse(text) as Record<string, unknown>) } })
  const feed = new Feed({ store: store.feed, log, now: () => 1_790_000_500_000, options: { ...defaultFeedOptions, ...options } })
  t.teardown(async () => {
    await feed.close()
    await store.close()
  })
  return { store, feed, lines, send: async (count = 1) => { await store.commit(Array.from({ length: count }, () => message(direct, 'alice'))) } }
}

function seqs (entries: readonly FeedEntry[]): number[] { return entries.map(entry => entry.kind === 'message' ? entry.message.seq : -1) }

class Collected {
  readonly entries: FeedEntry[] = []
  #wanted: { count: number, resolve: () => void } | undefined
  add (some: readonly FeedEntry[]): void {
    this.entries.push(...some)
    if (this.#wanted !== undefined && this.entries.length >= this.#wanted.count) this.#wanted.resolve()
  }

  until (count: number): Promise<void> {
    if (this.entries.length >= count) return Promise.resolve()
    return new Promise(resolve => { this.#wanted = { count, resolve } })
  }
}

await t.test('readers have a name, and there are so many', async t => {
  const { feed, send } = await world(t, { maxReaders: 2 })
  for (const name of ['', 'a b', 'x'.repeat(65), 'a/b']) await t.rejects(feed.register(name), { code: 'bad_payload' }, name)
  await feed.register('a')
  const [b, c] = await Promise.allSettled([feed.register('b', { temporary: true }), feed.register('c')])
  t.equal(b?.status, 'fulfilled')
  t.match(c, { status: 'rejected', reason: { code: 'conflict' } }, 'also when they come at once')
  t.match(await feed.register('a'), { name: 'a' }, 'one that is there may come again')
  await send(3)
  await feed.acknowledge('a', 1)
  t.match(await feed.readers(), [{ name: 'a', position: 1, behind: 2 }, { name: 'b', position: 0, behind: 3, temporary: true }])
  t.type((await feed.readers())[0]?.since, 'number')
  await feed.acknowledge('a', 3)
  t.strictSame(Object.keys((await feed.readers())[0] ?? {}).sort(), ['behind', 'createdAt', 'name', 'position'])
  await t.rejects(feed.acknowledge('c', 1), { code: 'not_found' })
  await t.rejects(feed.acknowledge('a', -1), { code: 'bad_payload' })
  await t.rejects(feed.read('c'), { code: 'not_found' })
  await t.rejects(feed.remove('c'), { code: 'not_found' })
  await feed.remove('b')
  await feed.register('c')
})

await t.test('a read is bounded, goes on behind what it is told, and never before the cursor', async t => {
  const { feed, send } = await world(t, { batch: 4, batchBytes: 1e6 })
  await feed.register('a')
  await send(10)
  t.same(seqs(await feed.read('a')), [1, 2, 3, 4])
  t.same(seqs(await feed.read('a')), [1, 2, 3, 4], 'again: nothing was acknowledged')
  t.same(seqs(await feed.read('a', { after: 4 })), [5, 6, 7, 8], 'further than the cursor')
  await feed.acknowledge('a', 9)
  t.same(seqs(await feed.read('a', { after: 4 })), [10])
})

await t.test('who waits is woken by a commit', async t => {
  const { feed, send } = await world(t)
  await feed.register('a')
  await feed.register('b')
  const waiting = [feed.read('a', { waitMs: 60_000 }), feed.read('b', { waitMs: 60_000 })]
  await send()
  t.same((await Promise.all(waiting)).map(seqs), [[1], [1]])
  t.same(await feed.read('a', { after: 1, waitMs: 5 }), [], 'or has waited')
  const ended = new AbortController()
  const aborted = feed.read('a', { after: 1, waitMs: 60_000, signal: ended.signal })
  ended.abort()
  t.same(await aborted, [], 'or does not want to any more')
  const removed = feed.read('b', { after: 1, waitMs: 60_000 })
  await feed.remove('b')
  await t.rejects(removed, { code: 'not_found' }, 'or is removed')
  const last = feed.read('a', { after: 1, waitMs: 60_000 })
  await feed.close()
  t.same(await last, [], 'or the engine ends')
})

await t.test('a reader that throws gets the same again; others, and senders, do not notice', async t => {
  const { feed, send, lines } = await world(t, { batch: 2 })
  await feed.register('bad')
  await feed.register('good')
  let failures = 3
  const [bad, good] = [new Collected(), new Collected()]
  const followers = [
    follow({
      feed,
      name: 'bad',
      log: pino({ level: 'silent' }),
      retryMs: 1,
      handle: async entries => {
        bad.add(entries)
        if (failures-- > 0) throw new Error('no')
      }
    }),
    follow({ feed, name: 'good', log: pino({ level: 'silent' }), handle: entries => { good.add(entries) } })
  ]
  await send(5)
  await good.until(5)
  await bad.until(11)
  t.same(seqs(good.entries), [1, 2, 3, 4, 5])
  t.same(seqs(bad.entries), [1, 2, 1, 2, 1, 2, 1, 2, 3, 4, 5])
  await send()
  await good.until(6)
  await Promise.all(followers.map(async follower => { await follower.close() }))
  t.match(await feed.readers(), [{ name: 'bad' }, { name: 'good', position: 6, behind: 0 }])
  t.same(lines, [])
  const removed = follow({ feed, name: 'good', log: pino({ level: 'silent' }), handle: () => {} })
  await feed.remove('good')
  await removed.done
})

await t.test('rows go when all have passed them, or when they are too old', async t => {
  const { feed, store, send, lines } = await world(t, { keepSeconds: 3600 })
  await feed.register('a')
  await store.commit([message(direct, 'alice', { ts: 1_790_000_500_000 - 3_600_001 })])
  await send()
  await feed.trim()
  const entries = await feed.read('a')
  t.match(entries, [{ kind: 'gap', reason: 'missing', count: 1, position: 1 }, { kind: 'message', position: 2 }])
  t.match(lines, [{ reader: 'a', missing: 1, level: 40 }])
  await feed.acknowledge('a', 2)
  await feed.trim()
  t.same(await store.feed.read(0, { limit: 9, maxBytes: 1e6 }), [{ kind: 'gap', position: 2, count: 2, reason: 'missing' }], 'nothing is left')
})

await t.test('a temporary reader that asks for nothing any more is gone', async t => {
  const { feed: other, store, send } = await world(t)
  await other.close()
  const feed = new Feed({ store: store.feed, log: pino({ level: 'silent' }), now: () => 1_790_000_500_000, temporaryMs: -1 })
  t.teardown(() => feed.close())
  await feed.register('look', { temporary: true })
  await feed.register('stays')
  await send()
  t.same(seqs(await feed.read('look')), [1])
  await feed.trim()
  await t.rejects(feed.read('look'), { code: 'not_found' })
  t.same((await feed.readers()).map(({ name }) => name), ['stays'])
})

await t.test('keepSeconds 0 waits for ever', async t => {
  const { feed, store, send } = await world(t, { keepSeconds: 0 })
  await feed.register('a')
  await store.commit([message(direct, 'alice', { ts: 1 })])
  await send()
  await feed.trim()
  t.same(seqs(await feed.read('a')), [1, 2])
})

await t.test('a commit as a row: what belongs together is one item, the order of a conversation stays', t => {
  const at = (conv: string, seq: number) => ({ conv, seq, ts: seq })
  t.equal(feedRow(1, []), undefined)
  t.same(feedRow(5, [at('a', 3), at('b', 1), at('a', 4), at('a', 9), at('a', 10)]), {
    first: 5, ts: 10, count: 5, items: [{ conv: 'a', seq: 3, count: 2 }, { conv: 'b', seq: 1, count: 1 }, { conv: 'a', seq: 9, count: 2 }]
  })
  t.end()
})

await t.test('places of rows, with gaps wherever something is missing', t => {
  const row = (first: number, count: number) => ({ first, ts: 1, count, items: [{ conv: 'a', seq: first, count: 1 }, ...(count > 1 ? [{ conv: 'b', seq: first, count: count - 1 }] : [])] })
  const show = (...args: Parameters<typeof feedRefs>) => feedRefs(...args).map(ref => 'kind' in ref ? `${ref.position - ref.count + 1}-${ref.position}` : `${ref.position}${ref.conv}${ref.seq}`)
  t.same(show([row(1, 2), row(3, 1)], 0, 9, 3, true), ['1a1', '2b1', '3a3'])
  t.same(show([row(1, 3), row(4, 1)], 1, 9, 4, true), ['2b1', '3b2', '4a4'], 'within a row')
  t.same(show([row(1, 3), row(4, 1)], 1, 2, 4, true), ['2b1', '3b2'])
  t.same(show([row(4, 1)], 0, 9, 4, true), ['1-3', '4a4'])
  t.same(show([row(1, 1), row(4, 1)], 0, 9, 4, true), ['1a1', '2-3', '4a4'])
  t.same(show([row(1, 1)], 0, 9, 4, true), ['1a1', '2-4'])
  t.same(show([row(1, 1)], 0, 9, 4, false), ['1a1'], 'there are more')
  t.same(show([row(1, 1)], 0, 1, 4, true), ['1a1'], 'the next time')
  t.same(show([row(1, 1), row(4, 1)], 0, 2, 4, true), ['1a1', '2-3'])
  t.same(show([], 2, 9, 4, true), ['3-4'])
  t.same(show([row(1, 2)], 2, 9, 2, true), [])
  t.end()
})

await t.test('what was purged is told in one piece, as far as it is one', async t => {
  const refs = [[1, 'a', 1], [2, 'a', 2], [3, 'b', 1], [4, 'a', 3], [5, 'a', 5]].map(([position, conv, seq]) => ({ position, conv, seq }) as { position: number, conv: string, seq: number })
  const entries = await feedEntries(refs, { maxBytes: 1 }, async some => some.map(() => undefined))
  t.same(entries.map(entry => entry.kind === 'gap' ? [entry.position, entry.count, entry.conv, entry.seq] : []), [[2, 2, 'a', 1], [3, 1, 'b', 1], [4, 1, 'a', 3], [5, 1, 'a', 5]])
})
