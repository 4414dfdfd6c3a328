/** Retained messages: their limits and what is answered there, and that they are on disk whoever asks. */
import t from 'tap'
import { Clients, fresh, payloads, versions } from '../support/clauses.ts'
import { messagesUntil, publish2 } from '../support/ordinary-flows.ts'
import { json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

for (const version of versions) {
  await t.test(`more than mqtt.limits.retained and retainedBytes are refused, version ${version}`, async t => {
    const server = await startServer(t, { config: { mqtt: { openTopics: ['#'], limits: { retained: 3, retainedBytes: 1000 } } } })
    const clients = new Clients(server.mqttPort, version)
    const sender = await clients.connect(t)
    const watcher = await clients.connect(t)
    await watcher.subscribe('r/#', 0)
    const told = async (topic: string, payload: string, qos: 0 | 1 | 2 = 1): Promise<void> => {
      if (qos === 1) {
        const answer = await sender.publish(topic, payload, { retain: true })
        if (version === 5) t.match(answer, { reasonCode: 0x97, properties: { reasonString: 'there is no room for more retained messages' } })
      } else {
        sender.send({ cmd: 'publish', topic, payload, qos, dup: false, retain: true, ...qos === 2 && { messageId: 4242 } })
        if (qos === 2) {
          const pubrec = await sender.packets.take(packet => packet.cmd === 'pubrec')
          if (version === 5) t.match(pubrec, { reasonCode: 0x97 })
        }
      }
      const notice = json(await sender.next('im/u/clauses/notice'))
      t.match(notice, { kind: 'reject', code: 'too_large', ref: { topic } })
    }
    for (const topic of ['r/1', 'r/2', 'r/3']) t.equal((await sender.publish(topic, 'kept', { retain: true })).reasonCode ?? 0, 0)
    for (const qos of [0, 1, 2] as const) await told('r/4', 'one too many', qos)
    t.equal((await sender.publish('r/4', '', { retain: true })).reasonCode ?? 0, 0, 'a removal is none more')
    await sender.publish('r/1', 'replaced', { retain: true })
    await told('r/1', 'x'.repeat(990))
    await sender.publish('r/2', '', { retain: true })
    await sender.publish('r/4', 'room again', { retain: true })
    await sender.publish('r/1', 'x'.repeat(990), {})
    await sender.publish('r/end', 'end', { retain: false })
    t.strictSame(payloads(await messagesUntil(watcher, 'end')).map(text => text.slice(0, 10)), ['kept', 'kept', 'kept', '', 'replaced', '', 'room again', 'xxxxxxxxxx'], 'what is refused reaches nobody')
    const late = await clients.connect(t)
    await late.subscribe('r/+', 1)
    const got = [await late.next(), await late.next(), await late.next()]
    t.strictSame(payloads(got).sort(), ['kept', 'replaced', 'room again'])
  })
}

await t.test('all of many are there, by any filter, before and after kill -9', async t => {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
  const root = fresh('many')
  const clients = new Clients(server.mqttPort, 5)
  const sender = await clients.connect(t)
  for (let i = 0; i < 300; i++) await sender.publish(`${root}/${i % 10}/${i}`, String(i), { retain: true })
  await publish2(sender, `${root}/3/3`, 'again', { retain: true })
  await sender.publish(`${root}/4/4`, '', { retain: true })
  for (const restarted of [false, true]) {
    if (restarted) {
      await server.kill9()
      await server.restart()
    }
    for (const [filter, count] of [[`${root}/#`, 299], [`${root}/+/3`, 1], ['+/3/#', 30], [`${root}/4/+`, 29]] as const) {
      const reader = await clients.connect(t)
      await reader.subscribe(filter, 1)
      const topics = new Set<string>()
      while (topics.size < count) {
        const { topic, payload } = await reader.next()
        topics.add(topic)
        const number = topic.split('/').at(-1)
        if (payload.toString() !== (number === '3' ? 'again' : number)) t.fail(`${topic}: ${payload.toString()}`)
      }
      await reader.ping()
      t.strictSame(reader.packets.waiting.filter(packet => packet.cmd === 'publish'), [], filter)
    }
  }
})
