/** The store contract on MongoDB, or what stands in for it: see test/support/mongodb.ts. */
import t from 'tap'
import type { Test } from 'tap'
import { openMongoStore, urlDatabase } from '../../broker/store/mongodb/store.ts'
import type { MongoStoreOptions } from '../../broker/store/mongodb/store.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'
import type { Opened } from './operations.ts'
import { contract } from './store-contract.ts'
import { checkAgainstModel } from './model.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

async function tests (server: MongodbServer): Promise<void> {
  let made = 0
  const database = (): string => `${server.database}_${++made}`

  const open = async (t: Test, options: Partial<MongoStoreOptions> = {}): Promise<Opened> => {
    const all = { timeoutMs: 20_000, ...options, url: server.url, database: database() }
    let store = await openMongoStore(all)
    t.teardown(() => store.close())
    return {
      store,
      reopen: async () => {
        await store.close()
        store = await openMongoStore(all)
        return store
      },
      freshPath: name => t.testdirName + '/' + name
    }
  }

  t.comment(`MongoDB contract against ${server.kind}`)
  await contract(t, 'mongodb', open)
  // The feed has no cache.
  await contract(t, 'mongodb with tiny caches', t => open(t, { cache: { heads: 2, members: 2, groups: 2, events: 2, cursors: 2 } }), { hasFeed: false, members: 1_000 })

  await t.test('unread, lists, histories and deletions equal the model\'s after every step', async () => {
    await checkAgainstModel(() => {
      // Caches that are too small for the rows, so that rows are read from the database too.
      const options = { url: server.url, database: database(), timeoutMs: 20_000, cache: { heads: 2, members: 4, groups: 2 } }
      return { open: () => openMongoStore(options) }
    }, { runs: 8, maxSteps: 60 })
  })

  await t.test('a store of an unknown version is refused, and a wrong address is told in time', async t => {
    const name = database()
    const { MongoClient } = await import('mongodb')
    const client = new MongoClient(server.url)
    t.teardown(() => client.close())
    await client.db(name).collection<{ _id: string, version: number }>('meta').insertOne({ _id: 'format', version: 99 })
    await t.rejects(openMongoStore({ url: server.url, database: name }), { name: 'StoreFormatError', message: /version 99/ })
    const wrong = openMongoStore({ url: 'mongodb://user:hush@127.0.0.1:1/x', timeoutMs: 300 })
    const error = await wrong.then(() => undefined, (error: unknown) => error as Error)
    t.equal(error?.name, 'StoreUnavailableError')
    t.notMatch(String(error?.message), /hush/)
  })

  await t.test('a backup is refused, and says what to use', async t => {
    const { store } = await open(t)
    await t.rejects(store.backup('/nowhere'), { name: 'Refusal', message: /mongodump/ })
  })
}

await t.test('the database that a URL names', async t => {
  t.equal(urlDatabase('mongodb://u:p@h:1,h2:2/chat?replicaSet=x'), 'chat')
  t.equal(urlDatabase('mongodb+srv://h/a%20b'), 'a b')
  t.equal(urlDatabase('mongodb://h:1/?x=y'), undefined)
  t.equal(urlDatabase('mongodb://h'), undefined)
})
