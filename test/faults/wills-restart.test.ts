/** Wills over the death of the server: what waited goes on waiting, whose connection was lost with the server is heard, who said goodbye is not. */
import t from 'tap'
import type { Test } from 'tap'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { cli, startServer, type Server } from '../support/server.ts'

const kept = { sessionExpiryInterval: 1000 }

async function connect (t: Test, server: Server, user: string, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user, version: 5, clientId: user, clean: false, properties: kept, ...options })
  t.equal(connack.reasonCode, 0, `${user} is connected`)
  return client
}

const will = (topic: string, name: string, willDelayInterval?: number): RawConnect => ({
  will: { topic, payload: Buffer.from(name), qos: 1, retain: false, ...willDelayInterval !== undefined && { properties: { willDelayInterval } } }
})

/** The topic of wills, and how the watcher hears of them. */
const places = [
  { name: 'ordinary topics', topic: 'news/wills', filter: 'news/#', text: (payload: string | Buffer) => payload.toString() },
  { name: 'chat', topic: 'im/to/u/watcher', filter: 'im/u/watcher/inbox', text: (payload: string | Buffer) => String(json({ payload })['body']) }
]

for (const end of ['kill9', 'stop'] as const) {
  for (const { name, topic, filter, text } of places) {
    await t.test(`${name}, ${end}`, async t => {
      const server = await startServer(t, { config: { mqtt: { openTopics: ['news/#'] } } })
      const watcher = await connect(t, server, 'watcher')
      await watcher.subscribe(filter)
      const lost = await connect(t, server, 'lost', will(topic, 'lost with the server'))
      const polite = await connect(t, server, 'polite', will(topic, 'polite'))
      await polite.disconnect()
      for (const [user, delay] of [['soon', 3], ['late', 500], ['back', 40]] as const) {
        const client = await connect(t, server, user, will(topic, user, delay))
        client.cut()
        await client.closed
      }
      await connect(t, server, 'connected', will(topic, 'connected', 4))
      await connect(t, server, 'banned', will(topic, 'banned', 1))
      // What the server was told before is on its way to the disk.
      await watcher.ping()
      const got: string[] = []
      if (end === 'stop') {
        await server.stop()
      } else {
        // A write that is synced takes with it what was written before.
        await lost.publish('im/to/u/lost', 'a message')
        await server.kill9()
      }
      t.match(await cli(['user', 'ban', 'banned', '--config', server.configPath, '--data', server.data]), { code: 0 })
      await server.restart()
      const again = await connect(t, server, 'watcher')
      await connect(t, server, 'back', will(topic, 'back', 500))
      const take = async (count: number): Promise<void> => { while (got.length < count) got.push(text((await again.next(undefined, 20_000)).payload)) }
      await take(3)
      t.strictSame([...got].sort(), ['connected', 'lost with the server', 'soon'], 'and of who was banned meanwhile none')
      const sender = await connect(t, server, 'end')
      await sender.publish(topic, 'end')
      for (;;) {
        const next = text((await again.next()).payload)
        if (next === 'end') break
        t.fail(`${next} came`)
      }
    })
  }
}
