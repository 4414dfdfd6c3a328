/** What operations cost, counted by the driver's command monitoring: the numbers of docs/mongodb.md. */
import t from 'tap'
import type { Test } from 'tap'
import type { Store } from '../../broker/store/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { SentCommand } from '../../broker/store/mongodb/store.ts'
import { direct, group, join, message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

async function tests (server: MongodbServer): Promise<void> {
  let commands: string[] = []
  const onCommand = ({ name, collection }: SentCommand): void => { commands.push(`${name} ${collection}`) }
  const sent = async (job: () => Promise<unknown>): Promise<string[]> => {
    commands = []
    await job()
    return commands
  }
  const open = async (t: Test): Promise<Store> => {
    const store = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, onCommand })
    t.teardown(() => store.close())
    return store
  }

  await t.test('cursors are there before what another device received is', async t => {
    const store = await open(t)
    await store.commit([message('d:carol:dave', 'carol')])
    await store.putSession({ session: 'dave/p', user: 'dave', clientId: 'p', subscriptions: [], inflight: [], expirySeconds: 100, createdAt: 1 })
    const commands = await sent(() => store.advance({
      cursors: [{ session: 'dave/p', stream: 'd:carol:dave', seq: 1, sent: 1 }],
      members: [{ user: 'dave', conv: 'd:carol:dave', deliveredSeq: 1 }],
      events: []
    }))
    t.same(commands.filter(one => one.startsWith('update')), ['update cursors', 'update conversations'])
    t.ok(commands.indexOf('update cursors') < commands.indexOf('update conversations'), 'a device without a cursor would start behind the other one')
  })

  await t.test('a batch of messages is two round trips', async t => {
    const store = await open(t)
    await store.commit([message(direct, 'alice'), group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice')])
    await store.commit([message(direct, 'bob'), message('g:dev', 'bob')])
    const two = ['insert messages', 'update conversations']
    t.same(await sent(() => store.commit([message(direct, 'alice')])), two)
    t.same(await sent(() => store.commit([message(direct, 'bob', { cid: 'k' }), message('g:dev', 'bob')])), two, 'also with a cid')
    const resend = { session: 'bob/p', packetId: 1, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
    t.same(await sent(() => store.commit(Array.from({ length: 90 }, (_, i) => message(i % 2 === 0 ? direct : 'g:dev', i % 3 === 0 ? 'alice' : 'bob', { resend: { ...resend, packetId: i + 1 } })))), two, 'however many')
    const dup = await sent(() => store.commit([message(direct, 'bob', { resend: { ...resend, digest: 'other', dup: true } })]))
    t.same(dup.sort(), ['find messages', 'find resends', ...two].sort(), 'a DUP asks first')
    const repeat = await sent(() => store.commit([message(direct, 'bob', { cid: 'k' })]))
    t.same(repeat, ['insert messages', 'find conversations', 'find messages', 'find messages'], 'a repeat is refused, and looked up')
  })

  await t.test('lists, heads and backlogs are read in a bounded number of round trips', async t => {
    const store = await open(t)
    const convs = Array.from({ length: 150 }, (_, i) => `d:reader:x${i}`)
    await store.commit(convs.map(conv => message(conv, 'reader')))
    const cold = await open(t)
    t.same(await sent(async () => { t.equal((await cold.memberships('reader', { limit: 500 })).length, 150) }), ['find conversations', 'find conversations', 'find messages'])
    t.same(await sent(() => cold.memberships('reader', { limit: 500 })), ['find conversations'], 'warm')
    t.same(await sent(async () => { t.equal((await cold.conversations('reader', { limit: 500 })).length, 150) }), ['find conversations'], 'warm')
    t.same(await sent(() => cold.heads(convs)), [], 'warm')
    const ofReader = convs.map(conv => ({ user: 'reader', conv }))
    t.same(await sent(() => cold.membersAt(ofReader)), ['find conversations'])
    t.same(await sent(() => cold.membersAt(ofReader)), [], 'warm')
    t.same(await sent(() => cold.hiddenAt('reader', convs.map(conv => ({ conv, seq: 1 })))), ['find hidden'])
    t.same(await sent(() => cold.groupsAt(convs)), ['find groups'])
    t.same(await sent(() => cold.messages(convs[0] as string, { limit: 100 })), ['find messages'])
    t.same(await sent(() => cold.messagesAt(convs.map(conv => ({ conv, seq: 1 })))), ['find messages'])
    const other = await open(t)
    t.same(await sent(() => other.heads(convs)), ['find conversations', 'find messages'])
    t.same(await sent(() => other.member('reader', convs[3] as string)), ['find conversations'])
    t.same(await sent(() => other.events('reader', 0, 100)), ['find events'])
  })

  await t.test('a session that comes back to where it was finds its cursors there', async t => {
    const store = await open(t)
    const cursor = { session: 'back/p', stream: 'd:back:x', seq: 3, sent: 4 }
    const opened = async (epoch: string): Promise<void> => {
      await store.session('back/p')
      await store.putSession({ session: 'back/p', user: 'back', clientId: 'p', subscriptions: [], inflight: [], expirySeconds: 100, createdAt: 1, connection: { epoch, proven: 0 } })
    }
    await opened('one')
    await store.advance({ cursors: [cursor], members: [], events: [] })
    await opened('two')
    t.same(await sent(async () => { t.same(await store.cursors('back/p', ['d:back:x']), [{ seq: 3, sent: 4 }]) }), [], 'warm')
  })

  await t.test('sessions that come all at once share their writes', async t => {
    const store = await open(t)
    const session = (at: number) => ({ session: `crowd${at}/p`, user: `crowd${at}`, clientId: 'p', subscriptions: [], inflight: [], createdAt: 1, expirySeconds: 60 })
    const writes = await sent(() => Promise.all(Array.from({ length: 300 }, (_, i) => store.putSession(session(i)))))
    // FerretDB takes 50 changes in a command, MongoDB all of them.
    t.ok(writes.length <= 6, `${writes.length} commands`)
    t.equal(new Set(writes).size, 1)
    t.match(await store.session('crowd299/p'), { user: 'crowd299' })
  })

  await t.test('marks are one round trip for all', async t => {
    const store = await open(t)
    await store.commit([message('d:m:o', 'm'), message('d:m:p', 'm'), { op: 'event', user: 'o', ts: 1, content: '{}' }])
    const marks = {
      cursors: [{ session: 'o/1', stream: 'd:m:o', seq: 1, sent: 1 }, { session: 'p/1', stream: 'd:m:p', seq: 1, sent: 1 }],
      members: [{ user: 'o', conv: 'd:m:o', deliveredSeq: 1 }, { user: 'p', conv: 'd:m:p', deliveredSeq: 1, readSeq: 1 }],
      events: [{ user: 'o', deliveredSeq: 1 }]
    }
    await store.cursors('o/1', ['d:m:o'])
    await store.cursors('p/1', ['d:m:p'])
    t.same((await sent(() => store.advance(marks))).sort(), ['update conversations', 'update cursors', 'update eventHeads'], 'side by side')
    t.same(await sent(() => store.advance(marks)), [], 'nothing moved')
  })
}
