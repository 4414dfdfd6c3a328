/** Clauses on CONNECT, CONNACK, sessions, wills and the end of connections, in both versions. */
import { generate } from 'mqtt-packet'
import type { Packet } from 'mqtt-packet'
import t from 'tap'
import { Clients, fresh, payloads, versions } from '../support/clauses.ts'
import { bytes } from '../support/frame-bytes.ts'
import { within } from '../support/mailbox.ts'
import { messagesUntil } from '../support/ordinary-flows.ts'
import { connectPacket, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })

for (const version of versions) {
  const clients = new Clients(server.mqttPort, version)
  const title = (name: string): string => `version ${version}: ${name}`
  const end = async (client: RawClient, root: string): Promise<string[]> => {
    await (client.publish(`${root}/end`, 'end'))
    return payloads(await messagesUntil(client, 'end'))
  }

  await t.test(title('a protocol level that the server does not know'), async t => {
    const client = await RawClient.open(t, server.mqttPort, { version })
    const level = version === 5 ? 6 : 3
    client.write(bytes(0x10, 13, 'MQTT', level, 2, 0, 60, 'c'))
    const connack = await client.packets.take(packet => packet.cmd === 'connack')
    t.match(connack, version === 5 ? { reasonCode: 0x84 } : { returnCode: 1 }, '[MQTT-3.1.2-2]')
    await within(client.closed, 10_000, 'the close [MQTT-3.2.2-5] of 3.1.1, [MQTT-3.2.2-7] of 5')
  })

  await t.test(title('client ids of 1 to 23 letters and digits'), async t => {
    const all = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
    for (const clientId of ['0', all.slice(0, 23), all.slice(23, 46), all.slice(39), 'Z'.repeat(23)]) {
      const client = await clients.connect(t, { clientId })
      await client.disconnect()
    }
  })

  await t.test(title('an empty client id gets one of its own'), async t => {
    const ids = new Set<string>()
    for (let i = 0; i < 2; i++) {
      const { client, connack } = await RawClient.connect(t, server.mqttPort, { version, user: 'clauses', clientId: '' })
      t.equal(connack.reasonCode ?? connack.returnCode, 0, '[MQTT-3.1.3-6]')
      await client.ping()
      if (version === 5) ids.add(connack.properties?.assignedClientIdentifier ?? '')
    }
    if (version === 5) t.ok(ids.size === 2 && !ids.has(''), '[MQTT-3.1.3-7], [MQTT-3.2.2-16]')
  })

  await t.test(title('a client id that is refused'), async t => {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, { version, user: 'clauses', clientId: 'x'.repeat(3000) })
    t.match(connack, { sessionPresent: false, ...version === 5 ? { reasonCode: 0x85 } : { returnCode: 2 } }, '[MQTT-3.1.3-9] of 3.1.1, [MQTT-3.1.3-8] of 5; [MQTT-3.2.2-4] of 3.1.1, [MQTT-3.2.2-6] of 5')
    await within(client.closed, 10_000, 'the close [MQTT-3.2.2-5] of 3.1.1, [MQTT-3.2.2-7] of 5')
  })

  await t.test(title('nothing that comes behind a refused CONNECT is served'), async t => {
    const root = fresh('behind')
    const watcher = await clients.connect(t)
    await watcher.subscribe(`${root}/#`, 1)
    const client = await RawClient.open(t, server.mqttPort, { version })
    const hello = generate(connectPacket({ version, user: 'not/one', clientId: fresh('c') }), { protocolVersion: version })
    const publish = generate({ cmd: 'publish', topic: `${root}/x`, payload: 'x', qos: 0, dup: false, retain: false }, { protocolVersion: version })
    client.write(Buffer.concat([hello, publish]))
    await client.packets.take(packet => packet.cmd === 'connack')
    await within(client.closed, 10_000, 'the close [MQTT-3.1.4-2] of 5')
    t.strictSame(await end(watcher, root), [], '[MQTT-3.1.4-5] of 3.1.1, [MQTT-3.1.4-6] of 5')
  })

  await t.test(title('CONNACK comes first and once, before what waits'), async t => {
    const root = fresh('first')
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId)
    await client.subscribe(`${root}/#`, 1)
    await client.disconnect()
    const sender = await clients.connect(t)
    await sender.publish(`${root}/x`, 'x')
    const back = await RawClient.open(t, server.mqttPort, { version })
    const seen: Array<Packet['cmd']> = []
    const put = back.packets.put.bind(back.packets)
    back.packets.put = packet => { seen.push(packet.cmd); put(packet) }
    await back.hello({ user: 'clauses', clientId, clean: false, properties: { sessionExpiryInterval: 1000 } })
    await back.next(`${root}/x`)
    await back.ping()
    t.equal(seen[0], 'connack', '[MQTT-3.2.0-1]')
    t.equal(seen.filter(cmd => cmd === 'connack').length, 1, '[MQTT-3.2.0-2] of 5')
  })

  await t.test(title('who begins anew is told that there is no session'), async t => {
    const clientId = fresh('c')
    const first = await clients.keep(t, clientId)
    await first.client.disconnect()
    const second = await clients.keep(t, clientId)
    t.ok(second.present, '[MQTT-3.2.2-2] of 3.1.1, [MQTT-3.2.2-3] of 5')
    await second.client.disconnect()
    t.notOk((await clients.keep(t, clientId, { clean: true })).present, '[MQTT-3.2.2-1] of 3.1.1, [MQTT-3.2.2-2] of 5')
  })

  await t.test(title('a client id that is connected: the first connection ends'), async t => {
    const clientId = fresh('c')
    const first = await clients.connect(t, { clientId })
    const second = await clients.connect(t, { clientId })
    await within(first.closed, 10_000, 'the close [MQTT-3.1.4-2] of 3.1.1, [MQTT-3.1.4-3] of 5')
    if (version === 5) t.match(first.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8e }])
    await second.ping()
  })

  await t.test(title('retained messages outlive the session that sent them'), async t => {
    const root = fresh('outlive')
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId)
    await client.publish(`${root}/x`, 'kept', { retain: true })
    await client.disconnect()
    const anew = await clients.connect(t, { clientId })
    await anew.disconnect()
    const reader = await clients.connect(t)
    await reader.subscribe(`${root}/#`, 1)
    t.equal((await reader.next()).payload.toString(), 'kept', '[MQTT-3.1.2-7] of 3.1.1')
    await reader.publish(`${root}/x`, '', { retain: true })
  })

  await t.test(title('a will without RETAIN is not retained, one with it is'), async t => {
    const root = fresh('will')
    const watcher = await clients.connect(t)
    await watcher.subscribe(`${root}/#`, 1)
    for (const retain of [false, true]) {
      const dying = await clients.connect(t, { will: { topic: `${root}/${retain}`, payload: Buffer.from('gone'), qos: 1, retain } })
      dying.cut()
      await watcher.next(`${root}/${retain}`)
    }
    const late = await clients.connect(t)
    await late.subscribe(`${root}/#`, 1)
    await late.publish(`${root}/end`, 'end')
    const got = await messagesUntil(late, 'end')
    t.strictSame(got.map(packet => packet.topic), [`${root}/true`], '[MQTT-3.1.2-16], [MQTT-3.1.2-17] of 3.1.1, [MQTT-3.1.2-14], [MQTT-3.1.2-15] of 5')
    await late.publish(`${root}/true`, '', { retain: true })
  })

  await t.test(title('PINGREQ is answered'), async t => {
    const client = await clients.connect(t)
    await client.ping()
    t.pass('[MQTT-3.12.4-1]')
  })

  await t.test(title('who is silent for one and a half keep alives is cut off'), async t => {
    const root = fresh('silent')
    const watcher = await clients.connect(t)
    await watcher.subscribe(`${root}/#`, 1)
    const client = await clients.connect(t, { keepaliveSeconds: 1, will: { topic: `${root}/w`, payload: Buffer.from('gone'), qos: 1, retain: false } })
    await within(client.closed, 10_000, 'the close [MQTT-3.1.2-24] of 3.1.1, [MQTT-3.1.2-22], [MQTT-3.2.2-22] of 5')
    if (version === 5) t.match(client.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8d }])
    t.equal((await watcher.next()).payload.toString(), 'gone', 'as if the network had failed')
  })

  await t.test(title('a session lasts while its connection is open'), async t => {
    const root = fresh('open')
    const [mine, other] = [fresh('c'), fresh('c')]
    const short = { clean: version === 4, properties: { sessionExpiryInterval: 1 } }
    const { client } = await clients.keep(t, mine, short)
    await client.subscribe(`${root}/x`, 1)
    // Another one of a second ends meanwhile: when it has gone, so would this one.
    const gone = await clients.keep(t, other, short)
    await gone.client.disconnect()
    if (version === 5) await new Promise(resolve => setTimeout(resolve, 1300))
    const again = await clients.keep(t, other, { ...short, clean: false })
    t.notOk(again.present, '[MQTT-4.1.0-2] of 5')
    await again.client.publish(`${root}/x`, 'x')
    t.equal((await client.next()).payload.toString(), 'x', '[MQTT-4.1.0-1], [MQTT-4.1.0-2] of 3.1.1')
  })
}
