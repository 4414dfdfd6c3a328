/** The keep alive that clients are advised: the configuration's, what the operator says of it, and what becomes of that. */
import t from 'tap'
import { bench } from '../support/control-host.ts'

const setup = { keepAlive: { configured: { wifi: 100, cellular: 200, nat: 50 }, maxSeconds: 300 } }
const configured = { wifi: 100, cellular: 200, nat: 50 }

await t.test('what is said is in what the server says of itself, and outlives it', async t => {
  let b = await bench(t, { setup })
  t.match(await b.ask('alice', 'server.info'), { keepAlive: configured, features: { length: Number } })
  t.same(await b.operate('server.keepalive'), configured)
  t.same(b.outputs, [], 'asking changes nothing')
  t.same(await b.operate('server.keepalive', { cellular: 300, nat: null }), { ...configured, cellular: 300 })
  t.match(b.outputs, [{ kind: 'server', info: { name: 'sabethes', keepAlive: { ...configured, cellular: 300 } } }])
  await b.operate('server.keepalive', { cellular: 300 })
  t.equal(b.outputs.length, 1, 'nor does what was said already')
  b = await b.restart(true)
  t.match(await b.ask('alice', 'server.info'), { keepAlive: { ...configured, cellular: 300 } })
  t.same(await b.operate('server.keepalive', { reset: true, nat: 20 }), { ...configured, nat: 20 })
  t.same(await b.operate('server.keepalive', { reset: true }), configured)
  b = await b.restart(true)
  t.same(await b.operate('server.keepalive'), configured)
})

await t.test('of what was not said the configuration holds, also a newer one', async t => {
  const path = t.testdir() + '/store'
  const b = await bench(t, { setup, path })
  await b.operate('server.keepalive', { wifi: 250, nat: 20 })
  await b.control.close()
  await b.store.close()
  const next = await bench(t, { setup: { keepAlive: { configured: { wifi: 60, cellular: 170, nat: 30 }, maxSeconds: 90 } }, path })
  t.same(await next.operate('server.keepalive'), { wifi: 90, cellular: 90, nat: 20 }, 'and no more than clients are let have')
})

await t.test('what is too much is refused whole, and changes at once leave one of each', async t => {
  const b = await bench(t, { setup })
  await t.rejects(b.operate('server.keepalive', { wifi: 60, nat: 301 }), { code: 'bad_payload', message: /^nat: must be at most 300/ })
  for (const [param, value] of [['wifi', 9], ['nat', 1.5], ['cellular', '60'], ['reset', 1]] as const) await t.rejects(b.operate('server.keepalive', { [param]: value }), { code: 'bad_payload', message: new RegExp(`^${param}: `) })
  t.same(await b.operate('server.keepalive'), configured)
  await t.rejects(b.operate('server.info'), { code: 'not_found' }, 'what is everybody\'s is not asked so')
  await t.rejects(b.operate('nothing'), { code: 'not_found' })
  const results = await Promise.allSettled([{ wifi: 60 }, { nat: 999 }, { cellular: 250 }, { nat: 25 }].map(change => b.operate('server.keepalive', change)))
  t.same(results.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  t.same(await b.operate('server.keepalive'), { wifi: 60, cellular: 250, nat: 25 })
})

await t.test('what cannot be stored is not said', async t => {
  const b = await bench(t, { setup })
  const { write } = b.store.records
  b.store.records.write = async () => { throw new Error('no room') }
  await t.rejects(b.operate('server.keepalive', { wifi: 60 }), { message: 'no room' })
  b.store.records.write = write
  t.same(await b.operate('server.keepalive'), configured)
  t.same(b.outputs, [])
})
