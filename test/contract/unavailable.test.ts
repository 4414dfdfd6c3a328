/** A store that does not take a write is the same thing to everybody who asks for one, whatever the write and whatever the store. */
import { MongoError, MongoServerError } from 'mongodb'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { StoreDamagedError, StoreUnavailableError } from '../../broker/store/errors.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { Connection } from '../../broker/store/mongodb/connection.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { openBench } from '../support/engine-bench.ts'

/** A store whose writes fail while `full`: all of them, or those of the requests in `places`. */
interface Fillable { store: Store, full: (now: boolean) => void, places?: string[] }

async function check (t: Test, { store, full, places }: Fillable): Promise<void> {
  const b = await openBench(t, {}, store)
  const ask = async (user: string, method: string, params: object): Promise<Record<string, unknown>> => {
    const verdict = await b.verdict(b.send(user, `im/rpc/${method}`, JSON.stringify({ rid: 'r', ...params })))
    if (verdict.ok !== true || verdict.answer === undefined) throw new Error(JSON.stringify(verdict))
    return JSON.parse(Buffer.from(verdict.answer).toString()) as Record<string, unknown>
  }
  for (const user of ['alice', 'bob']) await store.putUser({ uid: user, createdAt: 1 })
  for (let i = 0; i < 5; i++) t.match(await b.verdict(b.send('alice', 'im/to/u/bob', `message ${i}`)), { ok: true })
  t.match(await ask('alice', 'groups.create', { gid: 'dev', members: [] }), { ok: true })

  full(true)
  const conv = 'd:alice:bob'
  const writes = ([
    ['alice', 'groups.create', { gid: 'more', members: [] }],
    ['alice', 'groups.dissolve', { gid: 'dev' }],
    ['bob', 'blocks.add', { user: 'alice' }],
    ['bob', 'messages.delete', { conv, seqs: [1] }],
    ['bob', 'conversations.clear', { conv }],
    ['bob', 'conversations.mute', { conv, on: true }]
  ] as Array<[string, string, object]>).filter(([, method]) => places === undefined || places.includes(method))
  for (const [user, method, params] of writes) t.match(await ask(user, method, params), { ok: false, code: 'unavailable' }, method)
  t.match(await b.verdict(b.send('alice', 'im/to/u/bob', 'a message')), { ok: 'failed' }, 'a message: no PUBACK')
  if (places !== undefined) return
  t.match(await b.verdict(b.send('bob', 'im/to/u/alice/read', '3')), { ok: 'failed' }, 'a read mark: no PUBACK')
  const { users } = b.engine.control.accounts
  for (const [name, write] of Object.entries({ add: () => users.add('carol', 'a password'), ban: () => users.ban('bob', true), remove: () => users.remove('bob') })) {
    const error = await write().then(() => undefined, (cause: unknown) => cause)
    t.ok(error instanceof StoreUnavailableError, `user ${name}: ${String(error)}`)
  }
  full(false)
  for (const [user, method, params] of writes) t.match(await ask(user, method, params), { ok: true }, `${method}: when there is room`)
}

await t.test('the embedded store', async t => {
  let full = false
  const store = await openLevelStore({
    path: join(t.testdir(), 'store'),
    retryIntervalMs: 0,
    faults: { beforeWrite: () => { if (full) throw new Error('IO error: 000005.log: No space left on device') } }
  })
  t.teardown(() => store.close())
  await check(t, { store, full: now => { full = now } })
})

const server = await mongodbServer(t)
if (server !== undefined) {
  await t.test('MongoDB, where tests can make writes fail', async t => {
    let full = false
    const store = await openMongoStore({ url: server.url, database: `${server.database}_full`, faults: { at: () => { if (full) throw outOfDisk() } } })
    t.teardown(() => store.close())
    await check(t, { store, full: now => { full = now }, places: ['groups.create', 'groups.dissolve', 'messages.delete'] })
  })
}

await t.test('what the database says is one of the contract\'s errors', async t => {
  const connection = new Connection({ url: 'mongodb://127.0.0.1:1/x', database: 'x', timeoutMs: 100 })
  t.teardown(() => connection.close())
  for (const error of [outOfDisk(), new MongoError('the driver is lost'), new MongoServerError({ message: 'not authorized', code: 13 })]) {
    for (const run of [(job: () => Promise<void>) => connection.read(job), (job: () => Promise<void>) => connection.exclusive(job)]) {
      const told = await run(async () => { throw error }).then(() => undefined, (cause: unknown) => cause)
      t.ok(told instanceof StoreUnavailableError && told.cause === error, error.message)
    }
  }
  await t.rejects(connection.exclusive(async () => { throw new TypeError('a mistake') }), TypeError, 'a mistake of the program is not the database\'s')
  t.notOk(new StoreDamagedError('x') instanceof StoreUnavailableError, 'trying again does not help there')
})

function outOfDisk (): MongoServerError { return new MongoServerError({ message: 'no room', code: 14031, codeName: 'OutOfDiskSpace' }) }

await t.test('a read that MongoDB\'s driver never ends is given up', async t => {
  const db = new Connection({ url: 'mongodb://127.0.0.1:1/', database: 'none', timeoutMs: 20 })
  t.teardown(() => db.close())
  await t.rejects(db.read(() => new Promise(() => { /* for ever */ })), { name: 'StoreUnavailableError', message: 'MongoDB does not answer: a read took longer than 60 ms' })
})
