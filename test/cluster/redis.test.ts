/** The Redis server that tests of the cluster start: what it forgets, and what it does not. */
import t from 'tap'
import { startRedis } from '../support/redis.ts'

await t.test('what is written survives kill -9, on the same port', async t => {
  const server = await startRedis(t)
  if (server === undefined) return
  await server.client().set('a', '1')
  await server.kill()
  await t.rejects(server.client().get('a'), 'it is away')
  await server.restart()
  t.equal(await server.client().get('a'), '1')
})

await t.test('without its file it comes back empty', async t => {
  const server = await startRedis(t, { appendonly: false })
  if (server === undefined) return
  await server.client().set('a', '1')
  await server.stop()
  await server.restart()
  t.equal(await server.client().get('a'), null)
})

await t.test('paused it answers nothing, and goes on where it was', async t => {
  const server = await startRedis(t)
  if (server === undefined) return
  const client = server.client()
  await client.set('a', '1')
  server.pause()
  await t.rejects(client.get('a'), /timed out/)
  server.resume()
  t.equal(await client.get('a'), '1')
})
