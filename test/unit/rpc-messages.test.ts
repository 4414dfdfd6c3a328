import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { type Bench, bench, bodies } from '../support/control-host.ts'

async function filled (b: Bench, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) await b.send('alice', { user: 'bob' }, `m${i}`)
}

await t.test('history goes back from the end, or on from a number', async t => {
  const b = await bench(t)
  await filled(b, 10)
  const newest = await b.ask('bob', 'messages.history', { with: 'alice', limit: 3 })
  t.match(newest, { conv: 'd:alice:bob', head: 10, more: true, before: 8 })
  t.same(bodies(newest.messages), ['m8', 'm9', 'm10'])
  t.same(bodies((await b.ask('bob', 'messages.history', { conv: 'd:alice:bob', before: 8, limit: 2 })).messages), ['m6', 'm7'])
  const first = await b.ask('bob', 'messages.history', { with: 'alice', before: 3 })
  t.same([bodies(first.messages), first.more], [['m1', 'm2'], false])
  const on = await b.ask('bob', 'messages.history', { with: 'alice', after: 7, limit: 2 })
  t.same([bodies(on.messages), on.more, on.after], [['m8', 'm9'], true, 9])
  const between = await b.ask('bob', 'messages.history', { with: 'alice', after: 2, before: 5 })
  t.same([bodies(between.messages), between.more], [['m3', 'm4'], false])
})

await t.test('history respects deletion, clearing and joining', async t => {
  const b = await bench(t)
  await filled(b, 6)
  t.same(await b.ask('bob', 'messages.delete', { with: 'alice', seqs: [5, 6, 6, 99] }), { conv: 'd:alice:bob', deleted: 2 })
  t.same(bodies((await b.ask('bob', 'messages.history', { with: 'alice', limit: 2 })).messages), ['m3', 'm4'])
  t.same((await b.ask('alice', 'messages.history', { with: 'bob' })).messages.length, 6)
  t.same(await b.ask('bob', 'conversations.clear', { with: 'alice' }), { conv: 'd:alice:bob', clearedSeq: 6 })
  t.match(await b.ask('bob', 'messages.history', { with: 'alice' }), { messages: [], more: false, head: 6 })
  await b.send('alice', { user: 'bob' }, 'm7')
  t.same(bodies((await b.ask('bob', 'messages.history', { with: 'alice', after: 0 })).messages), ['m7'])
})

await t.test('a page of deleted messages does not hide what is before it', async t => {
  const b = await bench(t)
  await filled(b, 300)
  await b.ask('bob', 'messages.delete', { with: 'alice', seqs: Array.from({ length: 250 }, (_, i) => i + 51) })
  const back = await b.ask('bob', 'messages.history', { with: 'alice', limit: 1 })
  t.same(bodies(back.messages), ['m50'])
  const on = await b.ask('bob', 'messages.history', { with: 'alice', after: 49, limit: 10 })
  t.same([bodies(on.messages), on.more], [['m50'], false])
})

await t.test('foreign conversations and bad requests', async t => {
  const b = await bench(t)
  await filled(b, 1)
  const refusals = await Promise.all([{ conv: 'd:alice:bob' }, { conv: 'g:none' }, { with: 'bob' }, { gid: 'none' }]
    .map(params => b.ask('eve', 'messages.history', params).catch((error: { code: string, message: string }) => `${error.code} ${error.message}`)))
  t.equal(new Set(refusals).size, 1)
  t.match(refusals[0], /^not_found /)
  for (const bad of [{}, { conv: 'e:bob' }, { conv: 'd:bob:alice' }, { conv: 7 }, { with: '../x' }, { with: 'alice', limit: 201 }, { with: 'alice', after: '1' }, { with: 'alice', before: -1 }]) {
    await t.rejects(b.ask('bob', 'messages.history', bad as Record<string, unknown>), { code: 'bad_payload' }, JSON.stringify(bad))
  }
  for (const bad of [{}, { seqs: [] }, { seqs: ['1'] }, { seq: 0 }, { seqs: 3 }]) {
    await t.rejects(b.ask('bob', 'messages.delete', { with: 'alice', ...bad }), { code: 'bad_payload' }, JSON.stringify(bad))
  }
  await t.rejects(b.ask('eve', 'messages.delete', { conv: 'd:alice:bob', seq: 1 }), { code: 'not_found' })
  await t.rejects(b.ask('eve', 'conversations.mute', { conv: 'd:alice:bob' }), { code: 'not_found' })
  await t.rejects(b.ask('bob', 'conversations.mute', { conv: 'd:alice:bob', on: 1 }), { code: 'bad_payload' })
  const hostile = JSON.parse('{"__proto__":{"with":"alice"}}') as Record<string, unknown>
  await t.rejects(b.ask('bob', 'messages.history', hostile), { code: 'bad_payload' })
})

await t.test('who read a message', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'carol', 'dave'] })
  const { seq } = await b.send('alice', { gid: 'dev' })
  await b.control.rules.conversations.mark('bob', { kind: 'group', id: 'dev' }, seq)
  b.control.advance([{ session: 'carol/x', persistent: false, user: 'carol', stream: 'g:dev', seq, sent: seq }])
  await b.control.rules.conversations.mark('dave', { kind: 'group', id: 'dev' }, seq - 1)
  t.same(await b.ask('alice', 'messages.reads', { gid: 'dev', seq }), { conv: 'g:dev', seq, read: ['bob'], delivered: ['carol'] })
  await t.rejects(b.ask('alice', 'messages.reads', { gid: 'dev', seq: 99 }), { code: 'not_found' })
  await t.rejects(b.ask('eve', 'messages.reads', { gid: 'dev', seq }), { code: 'not_found' })
  await b.send('alice', { user: 'bob' })
  t.match(await b.ask('alice', 'messages.reads', { with: 'bob', seq: 1 }), { read: [], delivered: [] })
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 1)
  t.match(await b.ask('alice', 'messages.reads', { with: 'bob', seq: 1 }), { read: ['bob'] })
})

await t.test('sync: everything that is missing, in pages, each message once', async t => {
  const b = await bench(t)
  await filled(b, 7)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  for (let i = 0; i < 4; i++) await b.send('alice', { gid: 'dev' }, `g${i}`)
  await b.ask('bob', 'messages.delete', { with: 'alice', seq: 7 })
  const convs: Record<string, number> = { 'd:alice:bob': 2, 'g:left': 3 }
  const got: string[] = []
  let pages = 0
  for (;;) {
    const answer = await b.ask('bob', 'sync', { convs, limit: 3 })
    pages++
    for (const one of answer.conversations) {
      convs[one.conv] = one.last
      got.push(...one.messages.map((m: { conv: string, seq: number }) => `${m.conv} ${m.seq}`))
    }
    if (answer.more === true) continue
    t.same(answer.gone, ['g:left'])
    break
  }
  t.same(got, ['d:alice:bob 3', 'd:alice:bob 4', 'd:alice:bob 5', 'd:alice:bob 6', 'g:dev 1', 'g:dev 2', 'g:dev 3', 'g:dev 4', 'g:dev 5'])
  t.ok(pages >= 3)
  t.match(await b.ask('bob', 'sync', { convs: { 'd:alice:bob': 7, 'g:dev': 5 } }), { conversations: [], more: false })
  const packed = await b.ask('bob', 'sync', { rid: '9', convs: { 'd:alice:bob': 5 }, gzip: true })
  t.match(JSON.parse(gunzipSync(packed).toString()), { rid: '9', ok: true, result: { conversations: [{ conv: 'd:alice:bob', last: 7, head: 7 }, { conv: 'g:dev' }] } })
  for (const bad of [{ convs: [] }, { convs: { x: 1 } }, { convs: { 'g:dev': -1 } }, { convs: JSON.parse('{"__proto__":1}') as object }, { gzip: 1 }]) {
    await t.rejects(b.ask('bob', 'sync', bad as Record<string, unknown>), { code: 'bad_payload' }, JSON.stringify(bad))
  }
})

await t.test('answers are bounded in bytes', async t => {
  const b = await bench(t)
  for (let i = 0; i < 20; i++) await b.send('alice', { user: 'bob' }, 'x'.repeat(60_000))
  const history = await b.ask('bob', 'messages.history', { with: 'alice', limit: 200 })
  t.ok(history.messages.length < 10 && history.more === true)
  const convs: Record<string, number> = {}
  let count = 0
  for (let more = true; more;) {
    const answer = await b.ask('bob', 'sync', { convs })
    t.ok(Buffer.byteLength(JSON.stringify(answer)) < 700_000)
    for (const one of answer.conversations) { convs[one.conv] = one.last; count += one.messages.length }
    more = answer.more
  }
  t.equal(count, 20)
})

await t.test('blocks', async t => {
  const b = await bench(t)
  t.same(await b.control.blocks('bob', 'alice'), false)
  await b.ask('bob', 'blocks.add', { user: 'alice' })
  await b.ask('bob', 'blocks.add', { user: 'alice' })
  t.same(await b.control.blocks('bob', 'alice'), true)
  t.equal(b.control.blocks('bob', 'alice'), true, 'synchronous when warm')
  t.same(await b.control.blocks('alice', 'bob'), false)
  await b.ask('bob', 'blocks.add', { user: '__proto__' })
  await b.ask('bob', 'blocks.add', { user: 'c' })
  await t.rejects(b.ask('bob', 'blocks.add', { user: 'd' }), { code: 'too_large' })
  await t.rejects(b.ask('bob', 'blocks.add', { user: 'bob' }), { code: 'bad_payload' })
  await b.ask('bob', 'blocks.remove', { user: 'alice' })
  t.same((await b.ask('bob', 'blocks.list')).users.sort(), ['__proto__', 'c'])
  t.equal(await b.control.blocks('bob', 'alice'), false)
})

await t.test('server.info', async t => {
  const b = await bench(t, { setup: { version: '1.2.3', prefix: 'chat' } })
  t.match(await b.ask('bob', 'server.info'), { name: 'sabethes', version: '1.2.3', prefix: 'chat', mode: 'dev', limits: { maxBlocks: 3 } })
})

await t.test('retention removes old messages, and numbers go on', async t => {
  const b = await bench(t, { limits: { retentionSeconds: 60 }, setup: { purgeIntervalMs: 20 } })
  await filled(b, 3)
  b.clock.ms += 61_000
  while ((await b.store.messages('d:alice:bob', { limit: 10 })).length > 0) await new Promise(resolve => setTimeout(resolve, 5))
  t.match(await b.ask('bob', 'messages.history', { with: 'alice' }), { messages: [], more: false })
  t.equal((await b.send('alice', { user: 'bob' })).seq, 4)
  t.equal((await b.control.read({ user: 'bob', stream: 'd:alice:bob', after: 0, limit: 10, maxBytes: 1e6 })).last, 4)
})
