/** Frames over a real Redis: who listens gets them, and of who is not there the sender hears. */
import { pino } from 'pino'
import t from 'tap'
import { connectRedis, whenReady } from '../../broker/cluster/redis.ts'
import { RedisTransport } from '../../broker/cluster/transport.ts'
import { until } from '../support/mailbox.ts'
import { startRedis } from '../support/redis.ts'

await t.test('a frame for a server that was killed is known to be lost at once', async t => {
  const redis = await startRedis(t)
  if (redis === undefined) return
  const log = pino({ level: 'silent' })
  const node = async (self: string): Promise<{ transport: RedisTransport, heard: string[] }> => {
    const setup = { url: redis.url, timeoutMs: 5_000, log }
    const [commands, subscriber] = [connectRedis(setup, 'commands'), connectRedis(setup, 'subscriber')]
    const transport = new RedisTransport({ commands, subscriber, namespace: 'test', log })
    const heard: string[] = []
    transport.listen(self, frame => { heard.push(frame) })
    await Promise.all([whenReady(commands, 5_000), transport.ready(5_000)])
    t.teardown(() => {
      transport.close()
      commands.disconnect()
    })
    return { transport, heard }
  }
  const [a, b] = [await node('a'), await node('b')]
  await a.transport.publish('b', 'one')
  await until(() => b.heard.length === 1, 5_000, 'the frame')
  t.same(b.heard, ['one'])
  // As its connections end with its process.
  b.transport.close()
  await until(async () => await a.transport.publish('b', 'two').then(() => false, () => true), 5_000, 'the end of its connection')
  await t.rejects(a.transport.publish('b', 'three'), /nobody listens/)
})
