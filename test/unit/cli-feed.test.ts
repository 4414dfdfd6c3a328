/** `sabethes feed`, against a control channel with a feed in memory. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t from 'tap'
import type { Test } from 'tap'
import { startControl } from '../../broker/http/control.ts'
import { desk } from '../support/cli-terminal.ts'
import type { Desk } from '../support/cli-terminal.ts'
import { fakeTarget } from '../support/fake-target.ts'
import type { FakeFeed } from '../support/fake-feed.ts'

async function world (t: Test): Promise<{ feed: FakeFeed, fresh: () => Desk, close: () => Promise<void> }> {
  const folder = t.testdir()
  mkdirSync(join(folder, 'data'))
  const target = fakeTarget()
  const control = await startControl(join(folder, 'data'), target)
  t.teardown(() => control.close())
  return { feed: target.feed, fresh: () => desk(folder), close: () => control.close() }
}

await t.test('readers and lag', async t => {
  const { feed, fresh } = await world(t)
  t.match(await fresh().run('feed', 'readers'), { code: 0, out: 'the feed has no readers\n' })
  t.match(await fresh().run('feed', 'add', 'audit'), { code: 0, out: 'audit reads behind position 0\n' })
  t.match(await fresh().run('feed', 'add', 'other', '--from', 'then'), { code: 2 })
  await feed.register('look', { from: 'now', temporary: true })
  t.match(await fresh().run('feed', 'lag'), { code: 0 })
  feed.add('d:alice:bob', 'one')
  feed.add('d:alice:bob', 'two')
  await feed.acknowledge('audit', 1)
  const { out } = await fresh().run('feed', 'readers')
  t.match(out, /^reader +position +behind +since\naudit +1 +1 +2026-09-21T14:13:20.000Z\nlook \(temporary\) +0 +2 +2026/)
  t.same(JSON.parse((await fresh().run('feed', 'readers', '--json')).out), await feed.readers())
  t.match(await fresh().run('feed', 'lag'), { code: 1, err: /a reader of the feed is 2 entries behind/ })
  t.match(await fresh().run('feed', 'lag', '--max', '2'), { code: 0 })
  t.match(JSON.parse((await fresh().run('feed', 'lag', '--max', '2', '--json')).out), { behind: 2, readers: [{ name: 'audit', behind: 1 }, { name: 'look', behind: 2 }] })
  t.match(await fresh().run('feed', 'lag', '--max', 'x'), { code: 2 })
  t.match(await fresh().run('feed', 'remove', 'audit'), { code: 0, out: 'removed audit\n' })
  t.match(await fresh().run('feed', 'remove', 'audit'), { code: 1, err: /not_found.*no reader 'audit'/ })
  t.match(await fresh().run('feed', 'remove', 'a b'), { code: 1, err: /bad_payload/ })
  t.same([...feed.known.keys()], ['look'])
})

await t.test('tail shows what comes and leaves nothing behind', async t => {
  const { feed, fresh } = await world(t)
  feed.add('d:alice:bob', 'before')
  const d = fresh()
  const done = d.run('feed', 'tail')
  while (feed.known.size === 0) await new Promise(resolve => { setImmediate(resolve) })
  feed.add('d:alice:bob', 'hello\u001b[2J')
  feed.put({ kind: 'gap', position: 3, count: 2, reason: 'purged', conv: 'g:dev', seq: 4 })
  feed.put({ kind: 'gap', position: 9, count: 6, reason: 'missing' })
  await d.printed('missing')
  d.terminal.signals.emit('SIGINT', 'SIGINT')
  const { code, out, err } = await done
  t.equal(code, 0, err)
  t.same(out.split('\n'), [
    '2  2026-09-21 14:13:20  d:alice:bob #2  alice: hello\\u001b[2J',
    '3  g:dev #4 to #5: purged before they were read',
    '9  6 entries are missing: too old, or damaged',
    ''
  ])
  t.equal(feed.known.size, 0, 'it was there for this time')
  t.equal(d.terminal.signals.listenerCount('SIGTERM') + d.terminal.signals.listenerCount('SIGINT'), 0)
})

await t.test('tail of a named reader acknowledges what was printed, and goes on there', async t => {
  const { feed, fresh } = await world(t)
  for (const body of ['a', 'b', 'c', 'd', 'e']) feed.add('d:alice:bob', body)
  const first = await fresh().run('feed', 'tail', '--reader', 'audit', '--from', 'oldest', '--count', '2', '--json')
  t.equal(first.code, 0, first.err)
  t.match(first.out.trim().split('\n').map(line => JSON.parse(line) as unknown), [{ kind: 'message', position: 1, conv: 'd:alice:bob', message: { seq: 1 } }, { position: 2 }])
  t.equal(feed.known.get('audit')?.position, 2)
  const second = await fresh().run('feed', 'tail', '--reader', 'audit', '--count', '3')
  t.same(second.out.split('\n').map(line => line.slice(0, 1)), ['3', '4', '5', ''])
  t.equal(feed.known.get('audit')?.position, 5)
  t.match(await fresh().run('feed', 'tail', '--from', 'x'), { code: 2 })
  t.match(await fresh().run('feed', 'tail', '--count', '0'), { code: 2 })
})

await t.test('tail waits for a slow output, acknowledges nothing meanwhile, and can be ended', async t => {
  const { feed, fresh } = await world(t)
  feed.add('d:alice:bob', 'x'.repeat(100_000))
  const d = fresh()
  const slow = new PassThrough({ highWaterMark: 10 })
  d.terminal.stdout = slow
  const done = d.run('feed', 'tail', '--reader', 'audit', '--from', 'oldest')
  while (slow.readableLength + slow.writableLength === 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(feed.known.get('audit')?.position, 0)
  d.terminal.signals.emit('SIGINT', 'SIGINT')
  slow.resume()
  t.equal((await done).code, 0)
  t.equal(feed.known.get('audit')?.position, 0, 'it comes again')
})

await t.test('tail ends with an error when the server does', async t => {
  const { feed, fresh, close } = await world(t)
  const d = fresh()
  const done = d.run('feed', 'tail', '--reader', 'audit')
  while (!feed.known.has('audit')) await new Promise(resolve => { setImmediate(resolve) })
  await close()
  t.match(await done, { code: 1, err: /the server does not answer any more/ })
  t.match(await fresh().run('feed', 'readers'), { code: 1, err: /no server runs/ })
})
