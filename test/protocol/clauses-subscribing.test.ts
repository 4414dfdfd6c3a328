/** Clauses on SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, in both versions. */
import t from 'tap'
import { ask, Clients, fresh, payloads, subscribeEach, versions } from '../support/clauses.ts'
import { messagesUntil, publish2, release } from '../support/ordinary-flows.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })

for (const version of versions) {
  const clients = new Clients(server.mqttPort, version)
  const title = (name: string): string => `version ${version}: ${name}`
  const refused = version === 5 ? 0x87 : 0x80

  await t.test(title('a SUBACK has the id of its SUBSCRIBE, and a code for each filter in their order'), async t => {
    const root = fresh('suback')
    const client = await clients.connect(t)
    const subscriptions = [{ topic: `${root}/0`, qos: 0 }, { topic: 'im/#', qos: 1 }, { topic: `${root}/2`, qos: 2 }, { topic: `${root}/1`, qos: 1 }, { topic: '$closed/#', qos: 0 }] as const
    const suback = await ask(client, { cmd: 'subscribe', messageId: 4711, subscriptions: [...subscriptions] }, 'suback')
    t.equal(suback.messageId, 4711, '[MQTT-3.8.4-1], [MQTT-3.8.4-2]; [MQTT-2.3.1-7] of 3.1.1, [MQTT-2.2.1-6] of 5')
    t.strictSame(suback.granted, [0, refused, 2, 1, refused], '[MQTT-3.9.3-1], [MQTT-3.9.3-2]; [MQTT-3.8.4-5] of 3.1.1, [MQTT-3.8.4-6], [MQTT-3.8.4-7] of 5')
    for (const name of ['0', '1', '2']) await client.publish(`${root}/${name}`, name)
    await client.ping()
    t.equal(client.received, 3, 'each is a subscription of its own: [MQTT-3.8.4-4] of 3.1.1, [MQTT-3.8.4-5] of 5')
  })

  await t.test(title('the same filter again replaces the subscription, and brings what is retained again'), async t => {
    const root = fresh('replace')
    const client = await clients.connect(t)
    await client.publish(`${root}/x`, 'kept', { retain: true })
    for (const qos of [1, 0] as const) {
      t.strictSame(await subscribeEach(client, [{ topic: `${root}/x`, qos }]), [qos])
      const kept = await client.next()
      t.match({ text: kept.payload.toString(), retain: kept.retain, qos: kept.qos }, { text: 'kept', retain: true, qos }, '[MQTT-3.8.4-3] of 3.1.1, [MQTT-3.8.4-4], [MQTT-3.3.1-9] of 5')
      await client.publish(`${root}/x`, 'live')
      const live = await client.next()
      t.match({ text: live.payload.toString(), qos: live.qos }, { text: 'live', qos }, '[MQTT-3.8.4-3], [MQTT-3.8.4-6] of 3.1.1, [MQTT-3.8.4-8] of 5')
    }
    await client.ping()
    t.equal(client.received, 4, 'one subscription, not two')
    await client.publish(`${root}/x`, '', { retain: true })
  })

  await t.test(title('nothing is lost while a subscription is replaced'), async t => {
    const root = fresh('flow')
    const client = await clients.connect(t)
    await client.subscribe(`${root}/#`, 1)
    const sender = await clients.connect(t)
    const sending = (async () => { for (let i = 0; i < 100; i++) await sender.publish(`${root}/x`, String(i)) })()
    for (let i = 0; i < 20; i++) await client.subscribe(`${root}/#`, 1)
    await sending
    await sender.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(client, 'end')), Array.from({ length: 100 }, (_, i) => String(i)), '[MQTT-3.8.4-3] of 3.1.1, [MQTT-3.8.4-4] of 5')
  })

  await t.test(title('UNSUBSCRIBE takes filters as they are written, and is answered once'), async t => {
    const root = fresh('unsubscribe')
    const client = await clients.connect(t)
    await client.subscribe([`${root}/+`, `${root}/a`, `${root}/b`], 1)
    const first = await ask(client, { cmd: 'unsubscribe', messageId: 8, unsubscriptions: [`${root}/#`, `${root}/A`] }, 'unsuback')
    t.equal(first.messageId, 8, 'nothing is deleted: [MQTT-3.10.4-4], [MQTT-3.10.4-5]')
    if (version === 5) t.strictSame(first.granted, [0x11, 0x11], '[MQTT-3.11.3-2]')
    await client.publish(`${root}/c`, 'c')
    t.equal((await client.next()).payload.toString(), 'c', '[MQTT-3.10.4-1]')
    const second = await ask(client, { cmd: 'unsubscribe', messageId: 9, unsubscriptions: [`${root}/+`, `${root}/none`, `${root}/b`] }, 'unsuback')
    if (version === 5) t.strictSame(second.granted, [0, 0x11, 0], '[MQTT-3.11.3-1]')
    for (const name of ['c', 'b', 'a']) await client.publish(`${root}/${name}`, name)
    t.strictSame(payloads(await messagesUntil(client, 'a')), [], '[MQTT-3.10.4-2], [MQTT-3.10.4-6]')
    await client.ping()
    t.notOk(client.packets.waiting.some(packet => packet.cmd === 'unsuback'), 'one answer to each')
  })

  await t.test(title('what was begun is finished after UNSUBSCRIBE'), async t => {
    const root = fresh('finish')
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId, { acknowledge: false })
    await client.subscribe(`${root}/x`, 2)
    const sender = await clients.connect(t)
    await sender.publish(`${root}/x`, 'one')
    await publish2(sender, `${root}/x`, 'two')
    const [one, two] = [await client.next(), await client.next()]
    await ask(client, { cmd: 'unsubscribe', messageId: 9, unsubscriptions: [`${root}/x`] }, 'unsuback')
    client.puback(one.messageId)
    await release(client, two)
    client.cut()
    await client.closed
    const back = (await clients.keep(t, clientId)).client
    t.match(await back.packets.take(packet => packet.cmd === 'pubrel'), { messageId: two.messageId }, '[MQTT-3.10.4-3]')
    await back.ping()
    t.equal(back.received, 0)
  })
}
