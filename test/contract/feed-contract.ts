/** What every store promises of the feed: see broker/store/feed.ts. */
import type { Test } from 'tap'
import type { FeedEntry } from '../../broker/store/feed.ts'
import type { Operation, Store } from '../../broker/store/store.ts'
import { append, direct, group, join, message } from './operations.ts'
import type { Open } from './operations.ts'

const page = { limit: 1000, maxBytes: 1e6 }
const now = { from: 'now', createdAt: 7 } as const

/** An entry in short: `conv seq`, or what a gap says. */
export function short (entries: readonly FeedEntry[]): string[] {
  return entries.map(entry => entry.kind === 'message'
    ? `${entry.conv} ${entry.message.seq}`
    : `${entry.reason} ${entry.conv ?? '-'} ${entry.seq ?? '-'} ${entry.count}`)
}

/** Everything behind the reader's cursor, in pages; acknowledged as it comes. */
export async function drain (store: Store, name: string, limit = 7): Promise<FeedEntry[]> {
  const all: FeedEntry[] = []
  for (;;) {
    const entries = await store.feed.read((await store.feed.reader(name))?.position ?? 0, { ...page, limit })
    const last = entries.at(-1)
    if (last === undefined) return all
    all.push(...entries)
    await store.feed.acknowledge(name, last.position)
  }
}

function positions (entries: readonly FeedEntry[]): number[] { return entries.map(({ position }) => position) }

export async function feed (t: Test, name: string, open: Open): Promise<void> {
  await t.test(`${name}: the feed`, async t => {
    await t.test('a reader gets what is committed from its registration on, in order, with what it was', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'alice'))
      t.same(await store.feed.register('audit', now), { name: 'audit', position: 0, createdAt: 7 })
      const first = message(direct, 'bob', { expiresAt: 99, content: '"body":"é | 😀"' })
      await append(store, first, message('d:alice:carol', 'carol'), message(direct, 'alice', { counts: false }))
      await append(store, message('d:alice:carol', 'alice'))
      const entries = await store.feed.read(0, page)
      t.same(short(entries).sort(), [`${direct} 2`, `${direct} 3`, 'd:alice:carol 1', 'd:alice:carol 2'].sort())
      t.same(short(entries.filter(entry => entry.kind === 'message' && entry.conv === direct)), [`${direct} 2`, `${direct} 3`])
      t.same(positions(entries), [1, 2, 3, 4])
      t.equal(await store.feed.end(), 4)
      t.strictSame(entries.find(entry => entry.kind === 'message' && entry.message.id === first.id),
        { kind: 'message', position: 1, conv: direct, message: { seq: 2, n: 2, counts: true, id: first.id, from: 'bob', ts: first.ts, expiresAt: 99, content: first.content } })
      t.strictSame(await store.feed.read(4, page), [], 'the end')
      t.equal(await store.feed.since(4), undefined)
      t.equal(await store.feed.since(0), (entries[1] as { message: { ts: number } }).message.ts, 'the time of the commit is its last message\'s')
    })

    await t.test('nothing is kept while nobody reads', async t => {
      const { store } = await open(t)
      await append(store, message(direct, 'alice'), message(direct, 'bob'))
      t.equal(await store.feed.end(), 0)
      t.same(await store.feed.read(0, page), [])
      await store.feed.register('audit', { from: 'oldest', createdAt: 1 })
      t.same(await store.feed.read(0, page), [], 'the oldest there is')
    })

    await t.test('repeats, events and changes of groups are not in it; what the server writes is', async t => {
      const { store } = await open(t)
      await store.feed.register('audit', now)
      const sent = message(direct, 'alice', { cid: 'k' })
      await append(store, sent, message(direct, 'alice', { cid: 'k' }))
      await append(store, message(direct, 'alice', { cid: 'k' }), group('dev'), join('dev', 'bob'), { op: 'event', user: 'bob', ts: 1, content: '{"kind":"x"}' })
      await append(store, join('dev', 'carol'), message('g:dev', 'alice', { counts: false, marksSender: false }))
      t.same(short(await drain(store, 'audit')), [`${direct} 1`, 'g:dev 1'])
    })

    await t.test('pages by entries and by bytes, from any position, over commits of any size', async t => {
      const { store, reopen } = await open(t)
      await store.feed.register('audit', now)
      const sent: string[] = []
      for (let i = 1; i <= 40; i++) {
        const ops = Array.from({ length: i % 9 + 1 }, (_, j) => message(`d:a${(i + j) % 4}:b`, 'b', { content: `"b":"${'x'.repeat(100)}"` }))
        const out = await store.commit(ops)
        sent.push(...out.map((o, j) => `${ops[j]?.conv} ${o.seq}`))
      }
      for (const restart of [false, true]) {
        const again = restart ? await reopen() : store
        t.equal(await again.feed.end(), sent.length)
        const all = await again.feed.read(0, page)
        t.same(positions(all), sent.map((_, i) => i + 1))
        t.same(short(all).sort(), [...sent].sort())
        for (const conv of ['d:a0:b', 'd:a3:b']) t.same(short(all).filter(one => one.startsWith(conv)), sent.filter(one => one.startsWith(conv)), 'in the order of the conversation')
        for (const after of [0, 1, 5, 17, sent.length - 1]) {
          for (const limit of [1, 2, 13]) t.same(await again.feed.read(after, { ...page, limit }), all.slice(after, after + limit), `${limit} behind ${after}`)
        }
        t.equal((await again.feed.read(3, { limit: 99, maxBytes: 350 })).length, 3, 'as many as fit')
        t.equal((await again.feed.read(3, { limit: 99, maxBytes: 1 })).length, 1, 'one at least')
        t.same(await again.feed.read(0, { limit: 0, maxBytes: 1 }), [])
      }
      const last = await reopen()
      t.equal(short(await drain(last, 'audit')).length, sent.length)
      t.same(await last.feed.readers(), [{ name: 'audit', position: sent.length, createdAt: 7 }])
    })

    await t.test('readers are named, each with a cursor of its own, and outlive a restart', async t => {
      const { store, reopen } = await open(t)
      await store.feed.register('b', now)
      await append(store, message(direct, 'alice'), message(direct, 'alice'))
      t.match(await store.feed.register('a', { from: 'now', createdAt: 8 }), { position: 2 })
      t.match(await store.feed.register('c', { from: 'oldest', createdAt: 9 }), { position: 0 })
      t.match(await store.feed.register('b', { from: 'now', createdAt: 10 }), { position: 0, createdAt: 7 }, 'one that is there stays as it is')
      t.equal(await store.feed.acknowledge('b', 1), true)
      t.equal(await store.feed.acknowledge('b', 0), true, 'a cursor does not go back')
      t.equal(await store.feed.acknowledge('c', 99), true, 'nor beyond the end')
      t.equal(await store.feed.acknowledge('nobody', 1), false)
      const again = await reopen()
      t.same(await again.feed.readers(), [{ name: 'a', position: 2, createdAt: 8 }, { name: 'b', position: 1, createdAt: 7 }, { name: 'c', position: 2, createdAt: 9 }])
      await append(again, message(direct, 'alice'))
      t.same(short(await drain(again, 'c')), [`${direct} 3`])
      t.same(short(await drain(again, 'b')), [`${direct} 2`, `${direct} 3`])
      t.equal(await again.feed.remove('b'), true)
      t.equal(await again.feed.remove('b'), false)
      t.equal(await again.feed.reader('b'), undefined)
      t.equal(await again.feed.acknowledge('b', 3), false, 'and does not come back')
      t.same((await (await reopen()).feed.readers()).map(reader => reader.name), ['a', 'c'])
    })

    await t.test('a temporary reader is forgotten at the end', async t => {
      const { store, reopen } = await open(t)
      t.match(await store.feed.register('look', { ...now, temporary: true }), { temporary: true })
      await append(store, message(direct, 'alice'), message(direct, 'alice'))
      await store.feed.acknowledge('look', 1)
      t.match(await store.feed.readers(), [{ name: 'look', position: 1, temporary: true }])
      t.same(short(await drain(store, 'look')), [`${direct} 2`])
      const again = await reopen()
      t.same(await again.feed.readers(), [])
      await append(again, message(direct, 'alice'))
      await again.feed.register('audit', { from: 'oldest', createdAt: 1 })
      t.same(short(await drain(again, 'audit')), [], 'what is left of a time before is not taken for the whole')
      await append(again, message(direct, 'alice'))
      t.same(short(await drain(again, 'audit')), [`${direct} 4`])
    })

    await t.test('a reader that comes when the last one has gone does not get the rows of its time', async t => {
      const { store } = await open(t)
      await store.feed.register('first', now)
      await append(store, message(direct, 'alice'))
      await store.feed.remove('first')
      await append(store, message(direct, 'alice'))
      await store.feed.register('second', { from: 'oldest', createdAt: 1 })
      await append(store, message(direct, 'alice'))
      t.same(short(await drain(store, 'second')), [`${direct} 3`])
    })

    await t.test('rows that all readers have passed leave; others stay', async t => {
      const { store, reopen } = await open(t)
      await store.feed.register('fast', now)
      await store.feed.register('slow', now)
      for (let i = 0; i < 60; i++) await append(store, message(direct, 'alice', { ts: 1000 + i }))
      await drain(store, 'fast')
      await store.feed.acknowledge('slow', 20)
      let gone = 0
      for (let step = await store.feed.trim(0, 7); step > 0; step = await store.feed.trim(0, 7)) gone += step
      t.ok(gone <= 20, `${gone}`)
      const again = await reopen()
      t.equal(await again.feed.trim(0, 100), 0)
      t.same(short(await drain(again, 'slow')), Array.from({ length: 40 }, (_, i) => `${direct} ${21 + i}`))
      await again.feed.trim(0, 1000)
      t.equal(await again.feed.end(), 60)
      const last = await reopen()
      t.equal(await last.feed.end(), 60, 'positions go on')
      await append(last, message(direct, 'alice'))
      t.same(short(await drain(last, 'slow')), [`${direct} 61`])
    })

    await t.test('rows that became too old leave a gap that says so', async t => {
      const { store, reopen } = await open(t)
      await store.feed.register('slow', now)
      for (let i = 0; i < 60; i++) await append(store, message(direct, 'alice', { ts: 1000 + i }), message(direct, 'bob', { ts: 1000 + i }))
      await store.feed.acknowledge('slow', 5)
      t.ok(await store.feed.trim(1030, 1000) > 0)
      const again = await reopen()
      const [gap, ...rest] = await drain(again, 'slow')
      t.match(gap, { kind: 'gap', reason: 'missing' })
      const { position, count } = gap as { position: number, count: number }
      t.equal(position, 5 + count)
      t.ok(position <= 60, 'no more than what is older')
      t.same(positions(rest), Array.from({ length: 120 - position }, (_, i) => position + 1 + i), 'and everything else')
      t.same(short(rest)[0], `${direct} ${position + 1}`)
    })

    await t.test('all rows too old: the place of a reader far behind is not lost', async t => {
      const { store, reopen } = await open(t)
      await store.feed.register('slow', now)
      for (let i = 0; i < 40; i++) await append(store, message(direct, 'alice', { ts: 1000 }))
      await store.feed.trim(1e15, 1000)
      const again = await reopen()
      t.equal(await again.feed.end(), 40)
      await append(again, message(direct, 'alice'))
      const all = await drain(again, 'slow')
      t.match(all[0], { kind: 'gap', reason: 'missing' })
      t.equal(all.at(-1)?.position, 41)
      t.equal(all.reduce((sum, entry) => sum + (entry.kind === 'gap' ? entry.count : 1), 0), 41, 'each place is accounted for')
    })

    await t.test('the retention purge does not wait for readers, and says what they missed', async t => {
      const { store } = await open(t)
      await store.feed.register('slow', now)
      for (let i = 1; i <= 10; i++) await append(store, message(direct, 'alice', { ts: i }), message('d:alice:carol', 'alice', { ts: i < 6 ? 100 : i }))
      t.equal(await store.purge(5, 100), 4)
      const all = await drain(store, 'slow', 1000)
      t.same(short(all).filter(one => one.includes('carol')), Array.from({ length: 10 }, (_, i) => `d:alice:carol ${i + 1}`))
      t.same(short(all).filter(one => one.includes('bob')), [1, 2, 3, 4].map(seq => `purged ${direct} ${seq} 1`).concat([5, 6, 7, 8, 9, 10].map(seq => `${direct} ${seq}`)))
    })

    await t.test('a reader far behind while the retention purge runs: each place is a message or told to be purged', async t => {
      const { store } = await open(t)
      await store.feed.register('slow', now)
      const convs = ['d:a:b', 'd:a:c', 'g:dev']
      let at = 0
      const commit = async (count: number): Promise<void> => { await store.commit(Array.from({ length: count }, (_, i) => message(convs[(at + i) % 3] as string, 'a', { ts: ++at }))) }
      for (let i = 0; i < 20; i++) await commit(1 + i % 7)
      const all: FeedEntry[] = []
      for (let round = 0; round < 12; round++) {
        const after = (await store.feed.reader('slow'))?.position ?? 0
        const [entries] = await Promise.all([store.feed.read(after, { ...page, limit: 9 }), store.purge(at - 40 + round, 1000), commit(3)])
        all.push(...entries)
        await store.feed.acknowledge('slow', entries.at(-1)?.position ?? 0)
        await store.feed.trim(0, 100)
      }
      all.push(...await drain(store, 'slow'))
      let next = 1
      const seqs = new Map<string, number>()
      for (const entry of all) {
        const count = entry.kind === 'gap' ? entry.count : 1
        if (entry.kind === 'gap' && entry.reason !== 'purged') t.fail(JSON.stringify(entry))
        const conv = entry.conv as string
        const seq = entry.kind === 'gap' ? entry.seq : entry.message.seq
        if (seq !== (seqs.get(conv) ?? 0) + 1) t.fail(`${conv}: ${seq} behind ${seqs.get(conv)}`)
        seqs.set(conv, (seqs.get(conv) ?? 0) + count)
        next += count
        if (entry.position !== next - 1) t.fail(`position ${entry.position}, expected ${next - 1}`)
      }
      t.equal(next - 1, await store.feed.end(), 'every place')
      t.ok(all.some(({ kind }) => kind === 'gap') && all.some(({ kind }) => kind === 'message'))
    })

    await t.test('messages of a group that was removed are gone at once, told in one piece', async t => {
      const { store } = await open(t)
      await append(store, group('dev'), join('dev', 'alice'))
      await store.feed.register('slow', now)
      await append(store, ...Array.from({ length: 5 }, (): Operation => message('g:dev', 'alice')), message(direct, 'bob'))
      await append(store, { op: 'group.drop', gid: 'dev' }, group('dev'), join('dev', 'bob'), message('g:dev', 'bob'))
      t.same(short(await drain(store, 'slow', 1000)), ['purged g:dev 1 5', `${direct} 1`, 'g:dev 6'])
    })

    await t.test('what is appended is told to the one who wakes readers, when it can be read', async t => {
      const { store } = await open(t)
      await store.feed.register('audit', now)
      const reads: Array<Promise<FeedEntry[]>> = []
      store.feed.onAppend = () => { reads.push(store.feed.read(reads.length, page)) }
      await append(store, message(direct, 'alice', { cid: 'k' }))
      await append(store, message('d:x:y', 'x'))
      await append(store, message(direct, 'alice', { cid: 'k' }))
      t.same((await Promise.all(reads)).map(short), [[`${direct} 1`], ['d:x:y 1']])
    })

    await t.test('commits, reads and removals at the same time', async t => {
      const { store } = await open(t)
      await store.feed.register('audit', now)
      const done = new AbortController()
      const got: FeedEntry[] = []
      const reading = (async () => {
        while (!done.signal.aborted) {
          got.push(...await drain(store, 'audit', 5))
          await store.feed.trim(0, 3)
        }
      })()
      const sent: string[] = []
      for (let i = 0; i < 30; i++) {
        const some = await Promise.all([0, 1, 2].map(async j => await store.commit([message(`d:a${j}:b`, 'b'), message(`d:a${j + i % 2}:b`, 'b')])))
        for (const [j, out] of some.entries()) sent.push(`d:a${j}:b ${out[0]?.seq}`, `d:a${j + i % 2}:b ${out[1]?.seq}`)
      }
      done.abort()
      await reading
      got.push(...await drain(store, 'audit', 5))
      t.same(short(got).sort(), sent.sort(), 'each once, as nothing failed')
      t.same(positions(got), sent.map((_, i) => i + 1))
    })
  })
}
