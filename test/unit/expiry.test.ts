/** Messages that have expired are not unread: at every moment, and everywhere the same. */
import t from 'tap'
import type { Test } from 'tap'
import { bench } from '../support/control-host.ts'
import type { Bench } from '../support/control-host.ts'

interface Item { conv: string, unread: number, last?: { body: unknown } }

/** Unread of one conversation as bob sees it; all answers must agree. */
async function unreadOf (t: Test, b: Bench, conv: string): Promise<number> {
  const { conversations, unread } = await b.ask('bob', 'conversations.list') as { conversations: Item[], unread: number }
  const asked = await b.ask('bob', 'unread') as { conversations: Record<string, number>, total: number }
  t.equal(unread, asked.total, 'the total')
  t.equal(conversations.reduce((sum, one) => sum + one.unread, 0), unread, 'the sum')
  const item = conversations.find(one => one.conv === conv)
  t.equal(item?.unread, asked.conversations[conv] ?? 0, 'the entry')
  return item?.unread ?? -1
}

await t.test('what has expired is not unread, from that moment on, also after a restart', async t => {
  const b = await bench(t)
  const at = (seconds: number): { expiresAt: number } => ({ expiresAt: b.clock.ms + seconds * 1000 })
  await b.send('alice', { user: 'bob' }, 'stays')
  await b.send('alice', { user: 'bob' }, 'ten', at(10))
  await b.send('alice', { user: 'bob' }, 'five', at(5))
  await b.send('carol', { user: 'bob' }, 'ten too', at(10))
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 3)
  b.clock.ms += 5_000
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 2)
  await b.send('alice', { user: 'bob' }, 'later', at(1))
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 3)
  b.clock.ms += 5_000
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 1)
  t.equal(await unreadOf(t, b, 'd:bob:carol'), 0)
  const again = await b.restart()
  t.equal(await unreadOf(t, again, 'd:alice:bob'), 1)
})

await t.test('the last message of the list is one that has not expired', async t => {
  const b = await bench(t)
  const last = async (): Promise<unknown> => (await b.ask('bob', 'conversations.list')).conversations[0].last?.body
  await b.send('alice', { user: 'bob' }, 'stays')
  for (let i = 0; i < 5; i++) await b.send('alice', { user: 'bob' }, `goes ${i}`, { expiresAt: b.clock.ms + 1_000 })
  t.equal(await last(), 'goes 4')
  b.clock.ms += 1_000
  t.equal(await last(), 'stays')
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 1)
})

await t.test('read, deleted and expired are not taken off twice', async t => {
  const b = await bench(t)
  for (let i = 0; i < 6; i++) await b.send('alice', { user: 'bob' }, `m${i}`, { expiresAt: b.clock.ms + 1_000 })
  await b.send('alice', { user: 'bob' }, 'stays')
  await b.ask('bob', 'messages.delete', { with: 'alice', seqs: [5, 7] })
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 3)
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 2)
  b.clock.ms += 1_000
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 0)
  await b.send('alice', { user: 'bob' }, 'new')
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 1)
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 8)
  t.equal(await unreadOf(t, b, 'd:alice:bob'), 0)
})

await t.test('a member that is far behind is counted after one that is near the end, in pages', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'carol'] })
  const total = 12_000
  const expiring = Array.from({ length: total }, (_, i) => b.message('alice', { gid: 'dev' }, 'x', { expiresAt: b.clock.ms + (i % 2 === 0 ? 1_000 : 9_000) }))
  await b.store.commit(expiring)
  await b.control.rules.conversations.mark('carol', { kind: 'group', id: 'dev' }, total - 9)
  b.clock.ms += 1_000
  t.equal((await b.ask('carol', 'unread')).total, 5)
  t.equal(await unreadOf(t, b, 'g:dev'), total / 2)
})
