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
  await b.control.readMark({ user: 'bob', session: 'bob/x' }, { kind: 'user', id: 'alice' }, 1)
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
    else if (what === 3) await b.control.readMark({ user: 'bob', session: 'bob/x' }, { kind: 'group', id: 'dev' }, 1 + random(20))
    else if (await b.store.member('bob', `d:${peer < 'bob' ? peer + ':bob' : 'bob:' + peer}`) !== undefined) {
      if (what === 4) await b.control.readMark({ user: 'bob', session: 'bob/x' }, { kind: 'user', id: peer }, 1 + random(20))
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
