/** What a session is owed on ordinary topics, whatever became of the connection: retained messages that it has not acknowledged, and nothing whose time has passed. */
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { ask, Clients, fresh, payloads, versions } from '../support/clauses.ts'
import { complete, messagesUntil, publish2, release } from '../support/ordinary-flows.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'], limits: { inflight: 4 } } } })

for (const version of versions) {
  const clients = new Clients(server.mqttPort, version)

  await t.test(`a retained message that was not acknowledged comes again, version ${version}`, async t => {
    const root = fresh('retained')
    const sender = await clients.connect(t)
    await sender.publish(`${root}/1`, 'one', { retain: true })
    await publish2(sender, `${root}/2`, 'two', { retain: true })
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId, { acknowledge: false })
    await client.subscribe(`${root}/+`, 2)
    const first = [await client.next(), await client.next()]
    client.cut()
    await client.closed
    await sender.publish(`${root}/1`, '', { retain: true })
    const { client: back, present } = await clients.keep(t, clientId, { acknowledge: false })
    t.ok(present)
    const again = [await back.next(), await back.next()]
    const seen = (packets: typeof first) => packets.map(({ payload, qos, retain, messageId, dup }) => ({ text: payload.toString(), qos, retain, messageId, dup })).sort((a, b) => a.qos - b.qos)
    t.strictSame(seen(again), seen(first).map(one => ({ ...one, dup: true })), '[MQTT-4.4.0-1]: with their packet ids, and the retain flag')
    for (const packet of again) {
      if (packet.qos === 1) back.puback(packet.messageId)
      else await complete(back, packet)
    }
    await back.ping()
    back.cut()
    await back.closed
    await sender.publish(`${root}/end`, 'end')
    const { client: last } = await clients.keep(t, clientId)
    t.strictSame(payloads(await messagesUntil(last, 'end')).filter(text => text !== ''), [], 'until it is acknowledged')
  })

  await t.test(`a retained message at QoS 2 that was received is not sent again, version ${version}`, async t => {
    const root = fresh('retained')
    const sender = await clients.connect(t)
    await publish2(sender, `${root}/1`, 'one', { retain: true })
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId)
    await client.subscribe(`${root}/+`, 2)
    const message = await client.next()
    await release(client, message)
    client.cut()
    await client.closed
    const { client: back } = await clients.keep(t, clientId)
    t.match(await back.packets.take(packet => packet.cmd === 'pubrel'), { messageId: message.messageId })
    back.send({ cmd: 'pubcomp', messageId: message.messageId })
    await publish2(sender, `${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(back, 'end')), [])
  })

  await t.test(`more retained messages than the window and the queue have room for, all of them, over connections, version ${version}`, async t => {
    const root = fresh('many')
    const sender = await clients.connect(t)
    const texts = Array.from({ length: 50 }, (_, i) => String(i))
    for (const text of texts) await sender.publish(`${root}/${text}`, text, { retain: true })
    const { client } = await clients.keep(t, fresh('c'))
    await client.subscribe(`${root}/+`, 1)
    const got: string[] = []
    while (got.length < texts.length) got.push((await client.next()).payload.toString())
    t.strictSame(got.sort(), [...texts].sort())
  })

  await t.test(`retained messages that a connection ended in the middle of come with the next one, each once, version ${version}`, async t => {
    const root = fresh('rest')
    const sender = await clients.connect(t)
    const texts = Array.from({ length: 50 }, (_, i) => String(i))
    for (const text of texts) await sender.publish(`${root}/${text}`, text, { retain: true })
    const clientId = fresh('c')
    const { client: first } = await clients.keep(t, clientId, { acknowledge: false })
    await first.subscribe(`${root}/+`, 1)
    const begun = [await first.next(), await first.next(), await first.next(), await first.next()]
    for (const { messageId } of begun.slice(0, 2)) first.puback(messageId)
    const got = payloads([...begun, await first.next(), await first.next()])
    first.cut()
    await first.closed
    await sender.publish(`${root}/7`, 'newer', { retain: true })
    await sender.publish(`${root}/gone`, 'x', { retain: true })
    await sender.publish(`${root}/gone`, '', { retain: true })
    const { client: second } = await clients.keep(t, clientId, { acknowledge: false })
    const again = [await second.next(), await second.next(), await second.next(), await second.next()]
    t.strictSame(again.map(({ dup, payload }) => [dup, payload.toString()]), got.slice(2).map(text => [true, text]), 'what was not acknowledged, first')
    second.cut()
    await second.closed
    const { client: third } = await clients.keep(t, clientId)
    const more = []
    // Some of it comes as the retained message, and what was published meanwhile, as it was.
    const wanted = new Set([...texts.filter(text => text !== '7' && !got.includes(text)), ...got.slice(2), 'newer'])
    while (wanted.size > 0) {
      const packet = await third.next()
      more.push(packet)
      wanted.delete(packet.payload.toString())
    }
    await sender.publish(`${root}/end`, 'end')
    more.push(...await messagesUntil(third, 'end'))
    const each = payloads(more).filter(text => /^\d+$/.test(text))
    t.strictSame([...each].sort(), [...new Set(each)].sort(), 'each once')
    t.notOk(more.some(({ payload }) => got.slice(0, 2).includes(payload.toString())), 'but for what was acknowledged')
    await third.disconnect()
    const { client: last } = await clients.keep(t, clientId)
    await sender.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(last, 'end')), [], 'and then no more')
  })

  await t.test(`they come once when the client subscribes anew at once, and not at all when it unsubscribes, version ${version}`, async t => {
    const root = fresh('anew')
    const sender = await clients.connect(t)
    const texts = Array.from({ length: 20 }, (_, i) => String(i))
    for (const text of texts) await sender.publish(`${root}/${text}`, text, { retain: true })
    for (const unsubscribes of [false, true]) {
      const clientId = fresh('c')
      const { client: first } = await clients.keep(t, clientId, { acknowledge: false })
      await first.subscribe(`${root}/+`, 1)
      const begun = payloads([await first.next(), await first.next(), await first.next(), await first.next()])
      first.cut()
      await first.closed
      const { client: back } = await clients.keep(t, clientId, { acknowledge: false })
      if (unsubscribes) await ask(back, { cmd: 'unsubscribe', messageId: 9, unsubscriptions: [`${root}/+`] }, 'unsuback')
      else await back.subscribe(`${root}/+`, 1)
      const again = [await back.next(), await back.next(), await back.next(), await back.next()]
      t.strictSame(payloads(again), begun)
      back.acknowledge = true
      for (const { messageId } of again) back.puback(messageId)
      if (unsubscribes) await back.subscribe(`${root}/end`, 1)
      const rest: IPublishPacket[] = []
      if (!unsubscribes) {
        while (rest.length < texts.length) rest.push(await back.next())
      }
      await sender.publish(`${root}/end`, 'end')
      rest.push(...await messagesUntil(back, 'end'))
      t.strictSame(payloads(rest).sort(), unsubscribes ? [] : [...texts].sort())
    }
  })

  await t.test(`they come at the end of the server, too, version ${version}`, async t => {
    const own = await startServer(t, { config: { mqtt: { openTopics: ['#'], limits: { inflight: 4 } } } })
    const root = fresh('killed')
    const texts = Array.from({ length: 20 }, (_, i) => String(i))
    const sender = await new Clients(own.mqttPort, version).connect(t)
    for (const text of texts) await sender.publish(`${root}/${text}`, text, { retain: true })
    const clientId = fresh('c')
    const { client: first } = await new Clients(own.mqttPort, version).keep(t, clientId, { acknowledge: false })
    await first.subscribe(`${root}/+`, 1)
    await first.next()
    await own.kill9()
    await own.restart()
    const { client: back } = await new Clients(own.mqttPort, version).keep(t, clientId)
    const missing = new Set(texts)
    while (missing.size > 0) missing.delete((await back.next()).payload.toString())
    t.pass('each of them')
  })

  for (const kept of [false, true]) {
    await t.test(`what expires while it waits for room is not sent, version ${version}, ${kept ? 'kept' : 'clean'}`, async t => {
      const root = fresh('expires')
      const clientId = fresh('c')
      const client = kept ? (await clients.keep(t, clientId, { acknowledge: false })).client : await clients.connect(t, { acknowledge: false })
      await client.subscribe(`${root}/+`, 1)
      const { client: sender } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'clauses', clientId: fresh('c') })
      for (const text of ['1', '2', '3', '4']) await sender.publish(`${root}/x`, text)
      const first = []
      for (let i = 0; i < 4; i++) first.push(await client.next())
      for (const text of ['short', 'short too']) await sender.publish(`${root}/x`, text, { properties: { messageExpiryInterval: 1 } })
      await sender.publish(`${root}/x`, 'long', { properties: { messageExpiryInterval: 1000 } })
      // The one thing that can be waited for is the clock.
      await new Promise(resolve => { setTimeout(resolve, 2100) })
      client.acknowledge = true
      for (const { messageId } of first) client.puback(messageId)
      await sender.publish(`${root}/x`, 'end')
      t.strictSame(payloads(await messagesUntil(client, 'end')), ['long'], '[MQTT-3.3.2-5]')
    })
  }
}
