import t from 'tap'
import { bench, type Bench } from '../support/control-host.ts'

/** Resolves when an event that matches was put out. */
async function event (b: Bench, user: string, kind: string): Promise<Record<string, unknown>> {
  for (;;) {
    for (const output of b.outputs) {
      if (output.kind !== 'event' || output.user !== user) continue
      const payload = JSON.parse(Buffer.from(output.payload).toString()) as Record<string, unknown>
      if (payload.kind === kind) return payload
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
const ack = (b: Bench, user: string, stream: string, seq: number): void => {
  b.control.advance([{ session: `${user}/phone`, persistent: false, user, stream, seq, sent: seq }])
}

await t.test('a device\'s acknowledgement is a delivered receipt to the other side', async t => {
  const b = await bench(t)
  await b.send('alice', { user: 'bob' })
  await b.send('alice', { user: 'bob' })
  ack(b, 'bob', 'd:alice:bob', 1)
  ack(b, 'bob', 'd:alice:bob', 2)
  t.match(await event(b, 'alice', 'delivered'), { kind: 'delivered', conv: 'd:alice:bob', by: 'bob', ts: b.clock.ms })
  t.match(await b.events('alice'), [{ kind: 'delivered', conv: 'd:alice:bob', seq: 2, by: 'bob' }], 'merged')
  t.same(await b.events('bob'), [])
  ack(b, 'alice', 'd:alice:bob', 2)
  await b.control.close()
  t.same(await b.events('bob'), [], 'one\'s own copies are no receipts')
})

await t.test('a newer receipt replaces the older one of its conversation', async t => {
  const b = await bench(t)
  await b.send('alice', { user: 'bob' })
  ack(b, 'bob', 'd:alice:bob', 1)
  await event(b, 'alice', 'delivered')
  await b.send('alice', { user: 'bob' })
  ack(b, 'bob', 'd:alice:bob', 2)
  await b.control.close()
  t.match(await b.events('alice'), [{ kind: 'delivered', seq: 2 }])
})

await t.test('read marks: receipts for the other side and for one\'s own devices', async t => {
  const b = await bench(t)
  for (let i = 0; i < 3; i++) await b.send('alice', { user: 'bob' })
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 2)
  t.equal((await b.ask('bob', 'unread')).total, 1, 'at once')
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 1)
  t.equal((await b.ask('bob', 'unread')).total, 1, 'behind: ignored')
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 99)
  t.same(await b.ask('bob', 'unread'), { total: 0, conversations: {} })
  t.equal((await b.store.member('bob', 'd:alice:bob'))?.readSeq, 3, 'clamped')
  await b.control.close()
  const alice = await b.events('alice')
  t.match(alice.find(e => e.kind === 'read'), { conv: 'd:alice:bob', seq: 3, by: 'bob' })
  t.match(alice.find(e => e.kind === 'delivered'), { conv: 'd:alice:bob', seq: 3, by: 'bob' }, 'read is delivered')
  t.match(await b.events('bob'), [{ kind: 'read', conv: 'd:alice:bob', seq: 3, by: 'bob' }], 'own badge')
})

await t.test('many read marks at once are few events', async t => {
  const b = await bench(t)
  for (let i = 0; i < 50; i++) await b.send('alice', { user: 'bob' })
  await Promise.all(Array.from({ length: 50 }, (_, i) => b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, i + 1)))
  await b.control.close()
  const reads = b.outputs.filter(o => o.kind === 'event' && o.user === 'alice')
  t.ok(reads.length <= 4, `${reads.length} events`)
  t.match((await b.events('alice')).find(e => e.kind === 'read'), { seq: 50 })
})

await t.test('groups: only one\'s own devices hear of a read mark', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.send('alice', { gid: 'dev' })
  ack(b, 'bob', 'g:dev', 2)
  await b.control.rules.conversations.mark('bob', { kind: 'group', id: 'dev' }, 2)
  await b.control.close()
  t.same((await b.events('alice')).map(e => e.kind), ['group'])
  t.match(await b.events('bob'), [{ kind: 'group' }, { kind: 'read', conv: 'g:dev', seq: 2, by: 'bob' }])
})

await t.test('foreign and missing conversations are one refusal', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev' })
  const there = await b.control.rules.conversations.mark('eve', { kind: 'group', id: 'dev' }, 1).catch((error: Error) => error)
  const missing = await b.control.rules.conversations.mark('eve', { kind: 'group', id: 'none' }, 1).catch((error: Error) => error)
  t.match(there, { code: 'not_found' })
  t.equal((there as Error).message, (missing as Error).message)
  await t.rejects(b.control.rules.conversations.mark('eve', { kind: 'user', id: 'alice' }, 1), { code: 'not_found' })
})

await t.test('marks outlive a failing store', async t => {
  const b = await bench(t)
  await b.send('alice', { user: 'bob' })
  const advance = b.store.advance.bind(b.store)
  b.store.advance = async () => { throw new Error('disk full') }
  ack(b, 'bob', 'd:alice:bob', 1)
  await t.rejects(b.control.streams({ session: 'bob/n', user: 'bob', kind: 'direct', limit: 10 }), { message: 'disk full' })
  b.store.advance = advance
  t.match((await b.control.streams({ session: 'bob/n', user: 'bob', kind: 'direct', limit: 10 })).streams, [{ cursor: 1, head: 1 }])
})

await t.test('the first receipt is written at once, those of the next moment as one', async t => {
  const b = await bench(t)
  for (let i = 0; i < 8; i++) await b.send('alice', { user: 'bob' })
  const mark = async (seq: number): Promise<unknown> => await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, seq)
  await mark(1)
  t.match(await event(b, 'alice', 'read'), { seq: 1 })
  const startedAt = performance.now()
  for (let seq = 2; seq <= 8; seq++) {
    await mark(seq)
    await new Promise(resolve => setImmediate(resolve))
  }
  await b.control.close()
  const moments = Math.ceil((performance.now() - startedAt) / 100)
  const read = b.outputs.filter(output => output.kind === 'event' && output.user === 'alice' && JSON.parse(Buffer.from(output.payload).toString()).kind === 'read')
  t.ok(read.length <= 1 + moments, `${read.length} receipts of eight marks within ${moments} tenths of a second`)
})

await t.test('many receipts are written in pieces', async t => {
  const b = await bench(t)
  const users = Array.from({ length: 120 }, (_, i) => `user${i}`)
  for (const user of users) await b.send('alice', { user })
  const sizes: number[] = []
  const commit = b.host.commit.bind(b.host)
  b.host.commit = async operations => {
    sizes.push(operations.length)
    return await commit(operations)
  }
  for (const user of users) ack(b, user, user < 'alice' ? `d:${user}:alice` : `d:alice:${user}`, 1)
  await b.control.close()
  t.equal(sizes.reduce((sum, size) => sum + size, 0), 120)
  t.ok(Math.max(...sizes) <= 50, sizes.join())
})
