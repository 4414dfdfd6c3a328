import t from 'tap'
import { bench } from '../support/control-host.ts'

await t.test('pages with ties neither repeat nor skip; pinned ones come first', async t => {
  const b = await bench(t)
  // The clock stands still: all have the same last activity.
  for (let i = 0; i < 25; i++) await b.send(`peer${String(i).padStart(2, '0')}`, { user: 'bob' })
  await b.ask('bob', 'conversations.pin', { with: 'peer13' })
  const seen: string[] = []
  let after: string | undefined
  do {
    const page = await b.ask('bob', 'conversations.list', { limit: 4, ...(after === undefined ? {} : { after }) })
    t.equal(page.unread, 25, 'the total is over all pages')
    seen.push(...page.conversations.map((c: { with: string }) => c.with))
    after = page.next
  } while (after !== undefined)
  t.equal(seen[0], 'peer13')
  t.equal(seen.length, 25)
  t.same([...seen.slice(1)].sort(), seen.slice(1))
  t.equal(new Set(seen).size, 25)
  b.clock.ms += 1
  await b.send('peer20', { user: 'bob' })
  t.same((await b.ask('bob', 'conversations.list', { limit: 2 })).conversations.map((c: { with: string }) => c.with), ['peer13', 'peer20'])
})

await t.test('an entry', async t => {
  const b = await bench(t)
  await b.send('alice', { user: 'bob' }, 'one')
  await b.send('alice', { user: 'bob' }, 'two')
  await b.control.rules.conversations.mark('bob', { kind: 'user', id: 'alice' }, 1)
  const ofBob = (await b.ask('bob', 'conversations.list')).conversations
  t.match(ofBob, [{ conv: 'd:alice:bob', kind: 'direct', with: 'alice', seq: 2, unread: 1, readSeq: 1, muted: false, pinned: false, last: { seq: 2, body: 'two', from: 'alice' } }])
  const ofAlice = (await b.ask('alice', 'conversations.list')).conversations
  t.match(ofAlice, [{ with: 'bob', unread: 0, readSeq: 2, peerReadSeq: 1, peerDeliveredSeq: 1 }])
  await b.ask('alice', 'groups.create', { gid: 'dev', name: 'Developers', members: ['bob'] })
  await b.ask('bob', 'conversations.mute', { gid: 'dev' })
  const group = (await b.ask('bob', 'conversations.list')).conversations.find((c: { conv: string }) => c.conv === 'g:dev')
  t.match(group, { kind: 'group', gid: 'dev', name: 'Developers', role: 'member', muted: true, unread: 0, last: { type: 'system' } })
})

await t.test('the last message is the last that this user may see', async t => {
  const b = await bench(t)
  const last = async () => (await b.ask('bob', 'conversations.list')).conversations[0].last?.body
  for (const text of ['one', 'two', 'three']) await b.send('alice', { user: 'bob' }, text)
  await b.send('alice', { user: 'bob' }, 'flash', { expiresAt: b.clock.ms + 5 })
  t.equal(await last(), 'flash')
  b.clock.ms += 5
  t.equal(await last(), 'three')
  await b.ask('bob', 'messages.delete', { with: 'alice', seqs: [3, 2] })
  t.equal(await last(), 'one')
  await b.ask('bob', 'conversations.clear', { with: 'alice' })
  t.equal(await last(), undefined)
  t.equal((await b.ask('alice', 'conversations.list')).conversations[0].last.body, 'three', 'one-sided')
})

await t.test('the last message of many conversations at once: hidden, expired, cleared, purged', async t => {
  const b = await bench(t)
  const lasts = async (): Promise<Record<string, unknown>> => {
    const { conversations } = await b.ask('bob', 'conversations.list', { limit: 1_000 })
    return Object.fromEntries(conversations.map((c: { conv: string, last?: { body: string } }) => [c.conv, c.last?.body]))
  }
  const gone = { expiresAt: b.clock.ms + 5 }
  await b.ask('alice', 'groups.create', { gid: 'team', members: ['bob'] })
  for (let i = 1; i <= 60; i++) await b.send('far', { user: 'bob' }, `far ${i}`, i > 2 ? gone : {})
  for (const peer of ['whole', 'cleared', 'read']) for (const text of ['one', 'two']) await b.send(peer, { user: 'bob' }, text)
  await b.send('flash', { user: 'bob' }, 'only', gone)
  for (let i = 1; i <= 6; i++) await b.send('hider', { user: 'bob' }, `hidden ${i}`)
  for (let i = 1; i <= 6; i++) await b.send('alice', { gid: 'team' }, `team ${i}`)
  await b.ask('bob', 'messages.delete', { with: 'hider', seqs: [2, 3, 4, 5, 6] })
  await b.ask('bob', 'messages.delete', { gid: 'team', seqs: [7, 6] })
  await b.ask('bob', 'conversations.clear', { with: 'cleared' })
  b.clock.ms += 5
  t.same(await lasts(), {
    'd:bob:cleared': undefined,
    'd:bob:far': 'far 2',
    'd:bob:flash': undefined,
    'd:bob:hider': 'hidden 1',
    'd:bob:read': 'two',
    'd:bob:whole': 'two',
    'g:team': 'team 4'
  })
  await b.send('whole', { user: 'bob' }, 'young')
  await b.store.purge(b.clock.ms, 1_000)
  const purged = await lasts()
  t.equal(purged['d:bob:whole'], 'young')
  t.same(new Set(Object.entries(purged).filter(([conv]) => conv !== 'd:bob:whole').map(([, body]) => body)), new Set([undefined]))
  const { conversations, unread } = await b.ask('bob', 'conversations.list', { limit: 1_000 })
  t.same([unread, conversations.length], [1, 7])
})

await t.test('a list of 1,000, mixed, in one answer and in pages', async t => {
  const b = await bench(t)
  const gids = Array.from({ length: 60 }, (_, i) => `g${i}`)
  for (const gid of gids) await b.ask('alice', 'groups.create', { gid, name: `"${gid}" ü`, members: ['bob'] })
  const peers = Array.from({ length: 940 }, (_, i) => `p${i}`)
  await b.host.commit(peers.map((peer, i) => b.message(peer, { user: 'bob' }, `"${i}" 😀\n`, { ts: b.clock.ms + i % 100 })))
  await b.ask('bob', 'conversations.pin', { gid: 'g7' })
  const whole = await b.ask('bob', 'conversations.list', { limit: 1_000 })
  t.equal(whole.conversations.length, 1_000)
  t.equal(whole.next, undefined)
  t.equal(whole.unread, 940)
  t.match(whole.conversations[0], { conv: 'g:g7', kind: 'group', name: '"g7" ü', role: 'member', pinned: true, last: { type: 'system', conv: 'g:g7' } })
  t.match(whole.conversations[1], { kind: 'direct', unread: 1, ts: b.clock.ms + 99, last: { body: /^"\d*99" 😀\n$/u }, peerReadSeq: 1 })
  t.same(whole, await b.ask('bob', 'conversations.list', { limit: 1_000 }), 'again')
  const paged: unknown[] = []
  let after: string | undefined
  do {
    const page = await b.ask('bob', 'conversations.list', { limit: 333, ...(after === undefined ? {} : { after }) })
    paged.push(...page.conversations)
    after = page.next
  } while (after !== undefined)
  t.same(paged, whole.conversations)
  const { total, conversations } = await b.ask('bob', 'unread')
  t.same([total, Object.keys(conversations).length], [940, 940])
  await t.rejects(b.ask('bob', 'conversations.list', { limit: 1_001 }), { code: 'bad_payload' })
})

await t.test('an answer ends where its messages are large enough', async t => {
  const b = await bench(t)
  const large = 'é'.repeat(20_000)
  await b.host.commit(Array.from({ length: 100 }, (_, i) => b.message(`p${i}`, { user: 'bob' }, i % 2 === 0 ? large : 'small')))
  const sizes: number[] = []
  const seen = new Set<string>()
  let after: string | undefined
  do {
    const page = await b.ask('bob', 'conversations.list', { limit: 1_000, ...(after === undefined ? {} : { after }) })
    for (const { conv } of page.conversations) seen.add(conv)
    sizes.push(Buffer.byteLength(JSON.stringify(page)))
    after = page.next
  } while (after !== undefined)
  t.equal(seen.size, 100)
  t.ok(sizes.length > 3, `${sizes.length} pages`)
  t.ok(sizes.every(size => size < 600_000), sizes.join())
})

await t.test('unread: the total is the sum, on every path', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob', 'carol'] })
  const names = ['alice', 'carol']
  let state = 42
  const random = (n: number): number => { state = (state * 1103515245 + 12345) % 2147483648; return Math.floor(state / 65536) % n }
  for (let i = 0; i < 150; i++) {
    const peer = names[random(2)] as string
    const what = random(6)
    if (what < 2) await b.send(peer, { user: 'bob' })
    else if (what === 2) await b.send(peer, { gid: 'dev' })
    else if (what === 3) await b.control.rules.conversations.mark('bob', { kind: 'group', id: 'dev' }, 1 + random(20))
    else if (await b.store.member('bob', `d:${peer < 'bob' ? peer + ':bob' : 'bob:' + peer}`) !== undefined) {
      if (what === 4) await b.control.rules.conversations.mark('bob', { kind: 'user', id: peer }, 1 + random(20))
      else await b.ask('bob', 'messages.delete', { with: peer, seq: 1 + random(30) })
    }
    const { total, conversations } = await b.ask('bob', 'unread')
    const list = await b.ask('bob', 'conversations.list')
    const sum = Object.values(conversations as Record<string, number>).reduce((a, n) => a + n, 0)
    const listed = list.conversations.reduce((a: number, c: { unread: number }) => a + c.unread, 0)
    if (total !== sum || list.unread !== total || listed !== total) t.fail(`step ${i}: ${total}, ${sum}, ${list.unread}, ${listed}`)
  }
  const { total } = await b.ask('bob', 'unread')
  t.ok(total >= 0)
  await b.send('bob', { user: 'alice' })
  t.equal((await b.ask('bob', 'unread')).conversations['d:alice:bob'], undefined, 'sending marks one\'s own conversation read')
})

await t.test('a place that is no place is refused', async t => {
  const b = await bench(t)
  await t.rejects(b.ask('bob', 'conversations.list', { after: 'x' }), { code: 'bad_payload' })
  await t.rejects(b.ask('bob', 'conversations.list', { limit: 0 }), { code: 'bad_payload' })
  await t.rejects(b.ask('bob', 'conversations.list', { limit: '5' }), { code: 'bad_payload' })
})
