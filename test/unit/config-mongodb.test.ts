/** The configuration of the MongoDB store. */
import t from 'tap'
import { loadConfig } from '../../broker/config/load.ts'
import { effectiveYaml } from '../../broker/config/present.ts'

const set = (...pairs: string[]) => ({ folder: t.testdir(), flags: { set: pairs } })

await t.test('the address is needed, and never shown', async t => {
  t.throws(() => loadConfig(set('store.driver=mongodb')), /store\.url/)
  t.throws(() => loadConfig(set('store.driver=mongodb', 'store.url=http://hush')), { message: /store\.url/ })
  const { config, origins } = loadConfig(set('store.driver=mongodb', 'store.url=mongodb://me:hush@db/chat'))
  t.match(config.store, { driver: 'mongodb', url: 'mongodb://me:hush@db/chat', database: '', timeoutMs: 5000 })
  t.notMatch(effectiveYaml(config, origins), /hush/)
  t.match(effectiveYaml(config, origins), /url: \(secret\)/)
})

await t.test('names that MongoDB does not take as a database are refused', async t => {
  for (const name of ['a.b', 'a b', 'a/b', 'x'.repeat(64)]) t.throws(() => loadConfig(set(`store.database=${name}`)), /store\.database/, name)
  t.equal(loadConfig(set('store.database=chat_1')).config.store.database, 'chat_1')
})
