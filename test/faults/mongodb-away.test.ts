/** A database that is known to be away: nobody waits for a time-out to be told so. */
import t from 'tap'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { until } from '../support/mailbox.ts'

t.setTimeout(120_000)
const server = await mongodbServer(t)
const away = /no server that takes writes is there/
const skip = server === undefined || server.kind === 'env' ? 'no database server that this test may stop' : false

await t.test('an answer within a second, and none that waits behind another one', { skip, timeout: 100_000 }, async t => {
  if (server === undefined) return
  const store = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 10_000 })
  t.teardown(() => store.close())
  const send = async (cid: string): Promise<void> => { await store.commit([message('d:a:b', 'a', { cid })]) }
  await send('before')
  await server.kill9()
  // The driver finds out by what fails, or by its next look, a second later.
  await until(async () => await store.health().then(() => false, ({ message }: Error) => away.test(message)), 30_000, 'that it is known')
  const began = performance.now()
  const results = await Promise.allSettled([send('one'), send('two'), send('three'), store.user('a'), store.health()])
  const tookMs = performance.now() - began
  for (const result of results) t.match(result, { status: 'rejected', reason: { name: 'StoreUnavailableError', message: away } })
  t.ok(tookMs < 1_000, `${Math.round(tookMs)} ms for all of them`)
  await server.restart()
  const back = performance.now()
  await until(async () => await send('after').then(() => true, () => false), 30_000, 'a commit')
  t.ok(performance.now() - back < 10_000, `${Math.round(performance.now() - back)} ms until it is there again`)
  const log = await store.messages('d:a:b', { limit: 10 })
  t.same(log.map(({ seq }) => seq), log.map((_, i) => i + 1))
})
