/** Requests over plain topics: conversations, history, sync, deletion, groups, blocks. */
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { listen, mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'

interface Envelope { seq: number, body: unknown, from: string, conv: string, type: string }
interface ListEntry { conv: string, unread: number, muted?: boolean, pinned?: boolean, last?: Envelope }
const bodies = (messages: Envelope[]): unknown[] => messages.map(one => one.body)

await t.test('a request and its answer with the mosquitto clients', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t)
  const { lines } = await listen(t, server.mqttPort, '-u', 'alice', '-i', 'asker', '-t', 'im/u/alice/rpc/+', '-q', '1')
  const sent = await mosquittoPub(server.mqttPort, '-u', 'alice', '-t', 'im/rpc/server.info', '-q', '1', '-m', '{"rid":"a"}')
  t.equal(sent.code, 0)
  // The answer goes to the asking session only; this one asked nothing.
  const alice = await device(t, server.url, 'alice')
  const info = await alice.result('server.info')
  t.match(JSON.stringify(info), /version/)
  t.same(lines.waiting, [])
})

await t.test('conversations, unread, history', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  const bob = await device(t, server.url, 'bob')
  const carol = await device(t, server.url, 'carol')
  for (let i = 1; i <= 10; i++) await alice.publish('im/to/u/bob', `a${i}`)
  await carol.publish('im/to/u/bob', 'c1')
  const { conversations } = await bob.result<{ conversations: ListEntry[] }>('conversations.list')
  t.same(conversations.map(one => one.conv), ['d:bob:carol', 'd:alice:bob'], 'the newest first')
  t.match(conversations[1], { unread: 10, last: { seq: 10, body: 'a10', from: 'alice' } })
  t.match(conversations[0], { unread: 1, last: { body: 'c1' } })
  t.match(await bob.result('unread'), { total: 11 })

  const history = async (range: object): Promise<unknown[]> =>
    bodies((await bob.result<{ messages: Envelope[] }>('messages.history', { conv: 'd:alice:bob', ...range })).messages)
  t.same(await history({ limit: 3 }), ['a8', 'a9', 'a10'])
  t.same(await history({ before: 4 }), ['a1', 'a2', 'a3'])
  t.same(await history({ after: 7 }), ['a8', 'a9', 'a10'])
  t.same(await history({ after: 2, limit: 2 }), ['a3', 'a4'])
  t.match(await bob.ask('messages.history', { conv: 'd:alice:bob', limit: -1 }), { ok: false, code: 'bad_payload' })
  t.match(await bob.ask('messages.history', { conv: 'd:alice:bob', after: '1' }), { ok: false, code: 'bad_payload' }, 'numbers as strings')
})

await t.test('sync: what is missing out, in pages, packed on request', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  const bob = await device(t, server.url, 'bob')
  for (let i = 1; i <= 5; i++) await alice.publish('im/to/u/bob', `a${i}`)
  await alice.result('groups.create', { gid: 'dev', name: 'Dev', members: ['bob'] })
  await alice.publish('im/to/g/dev', 'g1')
  interface Page { conversations: Array<{ conv: string, last: number, messages: Envelope[] }>, more: boolean }
  const found = new Map<string, unknown[]>()
  const convs: Record<string, number> = { 'd:alice:bob': 3 }
  let pages = 0
  for (let more = true; more && pages < 20; pages++) {
    const page = await bob.result<Page>('sync', { convs, limit: 2 })
    for (const { conv, last, messages } of page.conversations) {
      found.set(conv, [...found.get(conv) ?? [], ...bodies(messages.filter(one => one.type !== 'system'))])
      convs[conv] = last
    }
    more = page.more
  }
  t.ok(pages > 1, `${pages} pages`)
  t.same(found.get('d:alice:bob'), ['a4', 'a5'])
  t.same(found.get('g:dev'), ['g1'])

  await bob.publish('im/rpc/sync', { rid: 'packed', convs: {}, gzip: true })
  const { packet } = await bob.next('im/u/bob/rpc/packed')
  const answer = JSON.parse(gunzipSync(packet.payload as Buffer).toString()) as { rid: string, ok: boolean }
  t.match(answer, { rid: 'packed', ok: true })
})

await t.test('delete, clear, mute and pin are one-sided', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  const bob = await device(t, server.url, 'bob')
  for (let i = 1; i <= 4; i++) await alice.publish('im/to/u/bob', `a${i}`)
  const seen = async (who: typeof bob): Promise<unknown[]> =>
    bodies((await who.result<{ messages: Envelope[] }>('messages.history', { conv: 'd:alice:bob' })).messages)
  await bob.result('messages.delete', { conv: 'd:alice:bob', seqs: [2] })
  t.same(await seen(bob), ['a1', 'a3', 'a4'])
  t.same(await seen(alice), ['a1', 'a2', 'a3', 'a4'])
  t.match(await bob.result('unread'), { total: 3 }, 'a deleted unread message is not unread')
  await bob.result('conversations.mute', { conv: 'd:alice:bob', on: true })
  await bob.result('conversations.pin', { conv: 'd:alice:bob', on: true })
  const list = async (): Promise<ListEntry[]> => (await bob.result<{ conversations: ListEntry[] }>('conversations.list')).conversations
  t.match(await list(), [{ muted: true, pinned: true }])
  await bob.result('conversations.clear', { conv: 'd:alice:bob' })
  t.same(await seen(bob), [])
  t.match(await bob.result('unread'), { total: 0 })
  t.equal((await seen(alice)).length, 4)
  await alice.publish('im/to/u/bob', 'a5')
  t.same(await seen(bob), ['a5'])
  t.match(await bob.ask('messages.delete', { conv: 'd:alice:zoe', seqs: [1] }), { ok: false, code: /forbidden|not_found/ })
})

await t.test('groups: life, roles, events and the system messages of the log', async t => {
  const server = await startServer(t)
  const ann = await device(t, server.url, 'ann')
  const ben = await device(t, server.url, 'ben')
  const cid = await device(t, server.url, 'cid')
  for (const one of [ann, ben, cid]) await one.subscribe([`im/u/${one.user}/event`, 'im/g/+'])
  await ann.result('groups.create', { gid: 'dev', name: 'Dev', members: ['ben'] })
  const told = await ben.nextJson('im/u/ben/event')
  t.match(JSON.stringify(told), /dev/, 'membership changes are events')
  t.match(await ann.ask('groups.create', { gid: 'dev', name: 'Again', members: [] }), { ok: false, code: 'conflict' })
  t.match(await ben.result('groups.info', { gid: 'dev' }), { gid: 'dev', name: 'Dev', owner: 'ann' })
  t.match(JSON.stringify(await ben.result('groups.list')), /"dev"/)

  await ann.publish('im/to/g/dev', 'before cid')
  t.match(await cid.ask('groups.info', { gid: 'dev' }), { ok: false })
  t.match(await ben.ask('groups.add', { gid: 'dev', members: ['cid'] }), { ok: false, code: 'forbidden' }, 'a plain member may not')
  await ann.result('groups.role', { gid: 'dev', user: 'ben', role: 'admin' })
  // Another server may not have heard of it before ben does.
  t.match(await ben.nextJson('im/u/ben/event'), { role: 'admin' })
  await ben.result('groups.add', { gid: 'dev', members: ['cid'] })
  await ben.publish('im/to/g/dev', 'welcome')
  const first: Array<Record<string, unknown>> = []
  do first.push(await cid.nextJson('im/g/dev')); while (first.at(-1)?.body !== 'welcome')
  t.notMatch(JSON.stringify(first), 'before cid', 'history starts at joining')
  const system = await ann.mail.take(m => m.topic === 'im/g/dev' && (JSON.parse(m.text) as Envelope).type === 'system' && m.text.includes('cid'))
  t.match(JSON.parse(system.text), { conv: 'g:dev', type: 'system' }, 'and the log tells')

  await cid.result('groups.leave', { gid: 'dev' })
  await cid.publish('im/to/g/dev', 'gone already')
  t.match(await cid.nextJson('im/u/cid/notice'), { kind: 'reject', code: /forbidden|not_found/ })
  await ann.result('groups.remove', { gid: 'dev', members: ['ben'] })
  // Behind the receipt of his own message.
  await ben.mail.take(m => m.topic === 'im/u/ben/event' && (JSON.parse(m.text) as { action?: string }).action === 'remove')
  t.match(await ben.ask('messages.history', { conv: 'g:dev' }), { ok: false, code: /forbidden|not_found/ })
  await ann.result('groups.dissolve', { gid: 'dev' })
  t.match(await ann.ask('groups.info', { gid: 'dev' }), { ok: false, code: /not_found|forbidden/ })
})

await t.test('ids that are names of JavaScript are people like any other', async t => {
  const server = await startServer(t)
  for (const user of ['__proto__', 'constructor', '..', '.', 'toString', '-', '0']) {
    const one = await device(t, server.url, user)
    await one.subscribe(`im/u/${user}/inbox`)
    await one.publish(`im/to/u/${user}`, 'to myself')
    t.match(await one.nextJson(`im/u/${user}/inbox`), { from: user, to: `u/${user}`, seq: 1, body: 'to myself' })
    await one.result('blocks.add', { user: 'hasOwnProperty' })
    t.match(JSON.stringify(await one.result('blocks.list')), /hasOwnProperty/)
    await one.result('groups.create', { gid: user, name: user, members: ['__proto__'] })
    t.match(await one.result('groups.info', { gid: user }), { gid: user })
  }
})
