import t from 'tap'
import type { Test } from 'tap'
import { type Bench, bench, bodies } from '../support/control-host.ts'

const open = (b: Bench, client: string, expirySeconds: number) =>
  b.control.openSession({ session: `bob/${client}`, user: 'bob', clientId: client, cleanStart: expirySeconds === 0, expirySeconds })
const close = (b: Bench, client: string) => b.control.closeSession({ session: `bob/${client}`, expirySeconds: 600, graceful: true, inflight: [] })
const streams = async (b: Bench, client: string, kind: 'direct' | 'group' | 'own' | 'event' = 'direct', limit = 100, gid?: string) => {
  const session = `bob/${client}`
  const page = await b.control.streams({ session, user: 'bob', kind, limit, ...gid !== undefined && { gid } })
  const starts = [...page.streams.filter(({ begins }) => begins).map(({ stream, cursor }) => ({ stream, seq: cursor })), ...page.seen === undefined ? [] : [{ stream: page.seen, seq: 1 }]]
  b.control.advance(starts.map(({ stream, seq }) => ({ session, persistent: true, user: 'bob', stream, seq, sent: seq, begins: true })))
  return page.streams
}
const ack = (b: Bench, client: string, persistent: boolean, stream: string, seq: number) =>
  b.control.advance([{ session: `bob/${client}`, persistent, user: 'bob', stream, seq, sent: seq }])
const read = (b: Bench, user: string, stream: string, after = 0, limit = 100, maxBytes = 1e6) => b.control.read({ user, stream, after, limit, maxBytes })

await t.test('what no device received waits for the first one; then it is gone for new ones, at once', async t => {
  const b = await bench(t)
  for (let i = 0; i < 3; i++) await b.send('alice', { user: 'bob' })
  await open(b, 'a', 0)
  t.same(await streams(b, 'a'), [{ stream: 'd:alice:bob', head: 3, cursor: 0, sent: 0 }])
  ack(b, 'a', false, 'd:alice:bob', 3)
  await open(b, 'b', 0)
  t.match(await streams(b, 'b'), [{ head: 3, cursor: 3, sent: 3 }])
})

await t.test('a persistent session goes on where its device stopped, whatever others received', async t => {
  let b = await bench(t)
  await open(b, 'tv', 600)
  t.same(await streams(b, 'tv'), [])
  await close(b, 'tv')
  for (let i = 0; i < 5; i++) await b.send('alice', { user: 'bob' })
  await open(b, 'phone', 600)
  await streams(b, 'phone')
  ack(b, 'phone', true, 'd:alice:bob', 5)
  b = await b.restart()
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv'), [{ cursor: 0, head: 5 }], 'a conversation that began while it was away comes from its start')
  ack(b, 'tv', true, 'd:alice:bob', 2)
  b = await b.restart()
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv'), [{ cursor: 2, head: 5 }])
})

await t.test('a new persistent session does not get what others had, and remembers where it began', async t => {
  let b = await bench(t)
  for (let i = 0; i < 2; i++) await b.send('alice', { user: 'bob' })
  ack(b, 'x', false, 'd:alice:bob', 2)
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv'), [{ cursor: 2, head: 2 }])
  await close(b, 'tv')
  await b.send('alice', { user: 'bob' })
  ack(b, 'x', false, 'd:alice:bob', 3)
  b = await b.restart()
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv'), [{ cursor: 2, head: 3 }])
})

await t.test('own streams begin at the head; reading them skips others\' messages', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.send('bob', { gid: 'dev' }, 'old')
  await open(b, 'tv', 600)
  t.same(await streams(b, 'tv', 'own'), [{ stream: 'o:dev', head: 2, cursor: 2, sent: 2, begins: true }])
  await close(b, 'tv')
  await b.send('alice', { gid: 'dev' }, 'hers')
  await b.send('bob', { gid: 'dev' }, 'mine')
  await b.send('alice', { gid: 'dev' }, 'hers again')
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv', 'own'), [{ stream: 'o:dev', head: 5, cursor: 2 }])
  const { entries, last } = await read(b, 'bob', 'o:dev', 2)
  t.same(bodies(entries), ['mine'])
  t.equal(last, 5, 'trailing ones of others were looked at')
  t.same((await read(b, 'bob', 'o:dev', 0, 1)).entries.map(e => e.seq), [2])
})

await t.test('the event log', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  t.same(await streams(b, 'n', 'event'), [{ stream: 'e:bob', head: 1, cursor: 0, sent: 0 }])
  const { entries, last } = await read(b, 'bob', 'e:bob')
  t.match(entries.map(e => JSON.parse(Buffer.from(e.payload).toString()) as unknown), [{ kind: 'group', action: 'create', gid: 'dev', by: 'alice' }])
  t.equal(last, 1)
  ack(b, 'n', false, 'e:bob', 1)
  t.match(await streams(b, 'n2', 'event'), [{ cursor: 1 }])
  t.same((await read(b, 'eve', 'e:bob')).entries, [], 'nobody reads another\'s log')
})

await t.test('pages follow the ids', async t => {
  const b = await bench(t)
  const peers = ['a', 'b', 'c', 'd', 'e'].map(name => `peer-${name}`)
  for (const peer of peers) await b.send(peer, { user: 'bob' })
  const seen: string[] = []
  let after: string | undefined
  do {
    const page = await b.control.streams({ session: 'bob/n', user: 'bob', kind: 'direct', limit: 2, ...(after === undefined ? {} : { after }) })
    seen.push(...page.streams.map(s => s.stream))
    after = page.next
  } while (after !== undefined)
  t.same(seen, peers.map(peer => `d:bob:${peer}`))
})

await t.test('heads are never older than their page while commits go on', async t => {
  const b = await bench(t)
  for (let i = 0; i < 20; i++) await b.send(`peer${i}`, { user: 'bob' })
  const stop = new AbortController()
  const committed = new Map<string, number>()
  const sender = (async () => {
    for (let i = 0; !stop.signal.aborted; i = (i + 1) % 20) {
      const { seq } = await b.send(`peer${i}`, { user: 'bob' })
      committed.set(`d:bob:peer${i}`, seq)
    }
  })()
  for (let round = 0; round < 20; round++) {
    const before = new Map(committed)
    for (const state of await streams(b, 'n')) t.ok(state.head >= (before.get(state.stream) ?? 1) && state.cursor <= state.head)
  }
  stop.abort()
  await sender
})

await t.test('reading leaves out what the user may not see', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev' })
  await b.send('alice', { gid: 'dev' }, 'before bob')
  await b.ask('alice', 'groups.add', { gid: 'dev', members: ['bob'] })
  for (const text of ['one', 'two', 'three']) await b.send('alice', { gid: 'dev' }, text)
  await b.send('alice', { gid: 'dev' }, 'short-lived', { expiresAt: b.clock.ms + 10 })
  const all = await read(b, 'bob', 'g:dev')
  t.same(bodies(all.entries).slice(1), ['one', 'two', 'three', 'short-lived'])
  t.match(bodies(all.entries)[0], { action: 'add', by: 'alice', users: ['bob'] }, 'the message of one\'s own coming is the first')
  await b.ask('bob', 'messages.delete', { conv: 'g:dev', seq: 5 })
  b.clock.ms += 10
  const rest = await read(b, 'bob', 'g:dev', 3)
  t.same(bodies(rest.entries), ['one', 'three'])
  t.equal(rest.last, 7, 'the expired one at the end was looked at')
  t.same((await read(b, 'alice', 'g:dev', 3)).entries.length, 3, 'deleting is one-sided')
  t.same(await read(b, 'eve', 'g:dev'), { entries: [], last: 7 })
  await b.ask('bob', 'conversations.clear', { conv: 'g:dev' })
  t.same(await read(b, 'bob', 'g:dev'), { entries: [], last: 7 })
})

await t.test('limits of one read', async t => {
  const b = await bench(t)
  for (let i = 1; i <= 5; i++) await b.send('alice', { user: 'bob' }, String(i).repeat(100))
  t.match(await read(b, 'bob', 'd:alice:bob', 1, 2), { entries: [{ seq: 2 }, { seq: 3 }], last: 3 })
  const small = await read(b, 'bob', 'd:alice:bob', 0, 100, 10)
  t.match(small, { entries: [{ seq: 1 }], last: 1 }, 'at least one')
  t.same(await read(b, 'bob', 'd:alice:bob', 5), { entries: [], last: 5 })
})

let crashes = 0

/** A device that subscribed, and whose first cursors never came to the disk; then another device receives all there is. */
async function afterCrash (t: Test, filters: string[], meanwhile: (b: Bench) => Promise<void>, kind: 'direct' | 'group' | 'own' | 'event'): Promise<{ b: Bench, found: Awaited<ReturnType<typeof streams>> }> {
  let b = await bench(t, { path: `${t.testdir()}/${++crashes}` })
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  for (let i = 0; i < 3; i++) {
    await b.send('alice', { user: 'bob' })
    await b.send('alice', { gid: 'dev' })
  }
  // All there is: the first cursors of the other device say the same as its date, whether they were written or went with the server.
  for (const [stream, seq] of [['d:alice:bob', 3], ['g:dev', 4], ['e:bob', 3]] as const) ack(b, 'phone', false, stream, seq)
  await streams(b, 'phone')
  b.clock.ms += 3_600_000
  await open(b, 'tv', 600)
  await b.control.saveSubscriptions('bob/tv', filters.map(filter => ({ filter, qos: 1 as const })))
  await streams(b, 'tv', kind)
  b.clock.ms += 1
  await meanwhile(b)
  b = await b.restart(true)
  b.clock.ms += 5_000
  await open(b, 'phone', 0)
  for (const stream of ['d:alice:bob', 'g:dev', 'e:bob']) ack(b, 'phone', false, stream, 100)
  await streams(b, 'phone')
  await open(b, 'tv', 600)
  return { b, found: await streams(b, 'tv', kind) }
}

const more = async (b: Bench): Promise<void> => {
  for (let i = 0; i < 4; i++) {
    await b.send('alice', { user: 'bob' })
    await b.send('alice', { gid: 'dev' })
    b.clock.ms += 10
  }
}

await t.test('what comes after a SUBSCRIBE is for that device, also when its first cursors went with the server', async t => {
  t.match((await afterCrash(t, ['im/u/bob/inbox'], more, 'direct')).found, [{ stream: 'd:alice:bob', head: 7, cursor: 3 }])
  t.match((await afterCrash(t, ['im/u/bob/+'], more, 'direct')).found, [{ cursor: 3 }])
  t.match((await afterCrash(t, ['im/g/+'], more, 'group')).found, [{ stream: 'g:dev', head: 8, cursor: 4 }])
  t.match((await afterCrash(t, ['im/u/bob/inbox'], async b => { for (let i = 0; i < 3; i++) await b.send('bob', { gid: 'dev' }) }, 'own')).found, [{ stream: 'o:dev', head: 7, cursor: 4 }])
  t.match((await afterCrash(t, ['im/u/bob/event'], async b => { for (let i = 0; i < 2; i++) await b.ask('alice', 'groups.create', { gid: `new${i}`, members: ['bob'] }) }, 'event')).found, [{ stream: 'e:bob', head: 3, cursor: 1 }])
})

await t.test('of one group too: it subscribed, went, and comes back after another device had everything', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await open(b, 'tv', 600)
  await b.control.saveSubscriptions('bob/tv', [{ filter: 'im/g/dev', qos: 1 }])
  const state = async (): Promise<unknown> => await streams(b, 'tv', 'group', 1, 'dev')
  t.match(await state(), [{ cursor: 0, head: 1 }])
  await close(b, 'tv')
  b.clock.ms += 500_000
  for (let i = 0; i < 2; i++) await b.send('alice', { gid: 'dev' })
  ack(b, 'phone', false, 'g:dev', 3)
  await streams(b, 'phone')
  await open(b, 'tv', 600)
  t.match(await state(), [{ cursor: 0, head: 3 }])
})

await t.test('a filter that is new on this connection begins where a new device would', async t => {
  const { b } = await afterCrash(t, ['im/u/bob/inbox'], more, 'direct')
  await b.control.saveSubscriptions('bob/tv', [{ filter: 'im/u/bob/inbox', qos: 1 }, { filter: 'im/g/+', qos: 1 }])
  t.match(await streams(b, 'tv', 'group'), [{ stream: 'g:dev', cursor: 8, head: 8 }])
})

await t.test('a device that read one group for long, and then all of them: the others begin where a new device would', async t => {
  const b = await bench(t)
  for (const gid of ['a', 'b']) await b.ask('alice', 'groups.create', { gid, members: ['bob'] })
  b.clock.ms += 300_000
  await open(b, 'tv', 600)
  await b.control.saveSubscriptions('bob/tv', [{ filter: 'im/g/a', qos: 1 }])
  await close(b, 'tv')
  b.clock.ms += 300_000
  for (const gid of ['a', 'b']) {
    await b.send('alice', { gid })
    ack(b, 'phone', false, `g:${gid}`, 2)
  }
  await streams(b, 'phone')
  await open(b, 'tv', 600)
  await b.control.saveSubscriptions('bob/tv', [{ filter: 'im/g/a', qos: 1 }, { filter: 'im/g/+', qos: 1 }])
  t.match(await streams(b, 'tv', 'group'), [{ stream: 'g:a', cursor: 1, head: 2 }, { stream: 'g:b', cursor: 2, head: 2 }])
})

await t.test('one\'s own messages to groups begin when the groups are not read any more, and QoS 1 when it is asked for', async t => {
  const b = await bench(t)
  await b.ask('alice', 'groups.create', { gid: 'dev', members: ['bob'] })
  await b.send('alice', { user: 'bob' })
  await open(b, 'tv', 600)
  const inbox = { filter: 'im/u/bob/inbox', qos: 1 as const }
  await b.control.saveSubscriptions('bob/tv', [inbox, { filter: 'im/g/+', qos: 1 }])
  await close(b, 'tv')
  b.clock.ms += 300_000
  await b.send('bob', { gid: 'dev' }, 'mine')
  await open(b, 'tv', 600)
  t.match(await streams(b, 'tv', 'own'), [{ cursor: 2, head: 2 }], 'before the new subscriptions are stored')
  await b.control.saveSubscriptions('bob/tv', [inbox])
  t.match(await streams(b, 'tv', 'own'), [{ cursor: 2, head: 2 }])

  const c = await bench(t, { path: `${t.testdir()}/quiet` })
  await c.send('alice', { user: 'bob' })
  await open(c, 'tv', 600)
  await c.control.saveSubscriptions('bob/tv', [{ ...inbox, qos: 0 }])
  await close(c, 'tv')
  c.clock.ms += 300_000
  await c.send('alice', { user: 'bob' })
  ack(c, 'phone', false, 'd:alice:bob', 2)
  await streams(c, 'phone')
  await open(c, 'tv', 600)
  await c.control.saveSubscriptions('bob/tv', [inbox])
  t.match(await streams(c, 'tv'), [{ cursor: 2, head: 2 }])
})
