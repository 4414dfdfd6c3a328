/** What every store promises, through a store of several servers: alone, as the owner of nothing, and as the owner of a half. */
import t from 'tap'
import type { Test } from 'tap'
import { View } from '../../broker/cluster/view.ts'
import type { Store } from '../../broker/store/store.ts'
import { contract } from '../contract/store-contract.ts'
import type { Opened } from '../contract/operations.ts'
import { info, memoryCluster, OwnedView } from '../support/memory-cluster.ts'
import { mongodbServer } from '../support/mongodb.ts'

t.setTimeout(600_000)
const server = await mongodbServer(t)

await t.test('contract', { skip: server === undefined }, async t => {
  if (server === undefined) return
  let made = 0
  const open = async (t: Test, ids: readonly string[], view: (ids: readonly string[]) => View): Promise<Opened> => {
    const database = `${server.database}_${++made}`
    const start = async (): Promise<Store> => {
      const { nodes } = await memoryCluster(t, ids, { view, requestTimeoutMs: 20_000, store: () => ({ url: server.url, database, timeoutMs: 20_000 }) })
      return nodes[0]?.store as Store
    }
    let store = await start()
    return {
      store,
      reopen: async () => {
        await store.close()
        store = await start()
        return store
      },
      freshPath: name => t.testdirName + '/' + name
    }
  }
  const both = (ids: readonly string[]): View => new View(ids.map(info))
  // More members than go in one commit of several servers' operations (2,000).
  const members = 2_100
  await contract(t, 'a server alone', t => open(t, ['a'], both), { hasFeed: false, members })
  await contract(t, 'at the wrong server', t => open(t, ['a', 'b'], ids => new OwnedView(ids, 'b')), { hasFeed: false, members })
  await contract(t, 'two servers', t => open(t, ['a', 'b'], both), { hasFeed: false, members })
})
