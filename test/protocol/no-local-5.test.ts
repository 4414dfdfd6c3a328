/** No Local on chat topics (MQTT 5.0, section 3.8.3.1): what the same client has published does not come back to it; other devices get their copies. */
import type { ISubackPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { OwnMessages } from '../../broker/gateway/delivery/own-messages.ts'
import { fresh } from '../support/clauses.ts'
import { RawClient, json } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)
const connect = async (t: Test, user: string, clientId: string, options: RawConnect = {}): Promise<RawClient> =>
  (await RawClient.connect(t, server.mqttPort, { version: 5, user, clientId, ...options })).client
const kept: RawConnect = { clean: false, properties: { sessionExpiryInterval: 1000 } }

async function subscribe (client: RawClient, topic: string, nl: boolean, qos: 0 | 1 = 1): Promise<void> {
  const messageId = client.nextId()
  client.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos, nl }] })
  const suback = await client.packets.take(packet => packet.cmd === 'suback', 15_000, 'suback') as ISubackPacket
  t.strictSame(suback.granted, [qos], topic)
}
/** Bodies that come before `last`. */
async function until (client: RawClient, last: string): Promise<unknown[]> {
  const bodies: unknown[] = []
  for (;;) {
    const { body, type } = json(await client.next())
    if (body === last) return bodies
    if (type !== 'system') bodies.push(body)
  }
}

for (const qos of [0, 1] as const) {
  await t.test(`what a session publishes itself does not come back to it, QoS ${qos}`, async t => {
    const [me, other] = [fresh('a'), fresh('b')]
    const [phone, tablet, peer] = [await connect(t, me, 'phone'), await connect(t, me, 'tablet'), await connect(t, other, 'phone')]
    await subscribe(phone, `im/u/${me}/inbox`, true, qos)
    await subscribe(tablet, `im/u/${me}/inbox`, false, qos)
    await subscribe(peer, `im/u/${other}/inbox`, true, qos)
    for (const sent of [0, 1, 2] as const) {
      const messageId = phone.nextId()
      phone.send({ cmd: 'publish', topic: `im/to/u/${other}`, payload: `mine ${sent}`, qos: sent, dup: false, retain: false, messageId })
      if (sent === 2) {
        await phone.packets.take(packet => packet.cmd === 'pubrec')
        phone.send({ cmd: 'pubrel', messageId })
        await phone.packets.take(packet => packet.cmd === 'pubcomp')
      }
    }
    await tablet.publish(`im/to/u/${other}`, 'of the tablet')
    await peer.publish(`im/to/u/${me}`, 'end')
    t.strictSame(await until(phone, 'end'), ['of the tablet'], 'another client id is not local [MQTT-3.8.3-3]')
    t.strictSame(await until(tablet, 'end'), ['mine 0', 'mine 1', 'mine 2', 'of the tablet'])
    await phone.publish(`im/to/u/${other}`, 'end')
    t.strictSame(await until(peer, 'end'), ['mine 0', 'mine 1', 'mine 2', 'of the tablet'])
  })
}

await t.test('in groups, by whichever filter they come', async t => {
  for (const filter of ['group', 'groups', 'inbox'] as const) {
    const [me, other, gid] = [fresh('a'), fresh('b'), fresh('g')]
    const [phone, peer] = [await connect(t, me, 'phone'), await connect(t, other, 'phone')]
    await phone.publish('im/rpc/groups.create', JSON.stringify({ rid: '1', gid, name: 'G', members: [other] }))
    t.match(json(await phone.next(`im/u/${me}/rpc/1`)), { ok: true })
    await subscribe(phone, filter === 'group' ? `im/g/${gid}` : filter === 'groups' ? 'im/g/+' : `im/u/${me}/inbox`, true)
    await subscribe(peer, `im/g/${gid}`, false)
    await phone.publish(`im/to/g/${gid}`, 'mine')
    t.strictSame(await until(peer, 'mine'), [])
    // By itself the inbox brings one's own of a group, and nothing of others.
    await peer.publish(filter === 'inbox' ? `im/to/u/${me}` : `im/to/g/${gid}`, 'end')
    t.strictSame(await until(phone, 'end'), [], filter)
  }
})

await t.test('a filter without it that brings the same brings the copy', async t => {
  const me = fresh('a')
  const phone = await connect(t, me, 'phone')
  await subscribe(phone, `im/u/${me}/inbox`, true)
  await subscribe(phone, `im/u/${me}/#`, false)
  await phone.publish(`im/to/u/${fresh('b')}`, 'mine')
  t.match(json(await phone.next(`im/u/${me}/inbox`)), { body: 'mine' })
  await subscribe(phone, `im/u/${me}/#`, true)
  await phone.publish(`im/to/u/${fresh('b')}`, 'mine too')
  await phone.publish(`im/to/u/${me}`, 'to myself')
  await subscribe(phone, `im/u/${me}/inbox`, false)
  await phone.publish(`im/to/u/${fresh('b')}`, 'end')
  t.strictSame(await until(phone, 'end'), [])
})

await t.test('a copy carries the identifiers of the filters that bring it, and not of one with No Local [MQTT-3.3.4-3]', async t => {
  const [me, other] = [fresh('a'), fresh('b')]
  const [phone, peer] = [await connect(t, me, 'phone'), await connect(t, other, 'phone')]
  for (const [topic, nl, subscriptionIdentifier] of [[`im/u/${me}/inbox`, true, 7], [`im/u/${me}/#`, false, 8]] as const) {
    const messageId = phone.nextId()
    phone.send({ cmd: 'subscribe', messageId, properties: { subscriptionIdentifier }, subscriptions: [{ topic, qos: 1, nl }] })
    await phone.packets.take(packet => packet.cmd === 'suback', 15_000, 'suback')
  }
  const identifiers = async (): Promise<number[]> => [(await phone.next(`im/u/${me}/inbox`)).properties?.subscriptionIdentifier ?? []].flat()
  await phone.publish(`im/to/u/${other}`, 'mine')
  t.strictSame(await identifiers(), [8])
  await peer.publish(`im/to/u/${me}`, 'theirs')
  t.strictSame((await identifiers()).sort(), [7, 8])
})

await t.test('a session that goes on', async t => {
  const [me, other] = [fresh('a'), fresh('b')]
  const first = await connect(t, me, 'phone', kept)
  await subscribe(first, `im/u/${me}/inbox`, true)
  await first.publish(`im/to/u/${other}`, 'live')
  await first.disconnect()
  const peer = await connect(t, other, 'phone')
  await peer.publish(`im/to/u/${me}`, 'while away')

  // Behind: nothing is acknowledged, and the window is full.
  const slow = await connect(t, me, 'phone', { ...kept, acknowledge: false, properties: { ...kept.properties, receiveMaximum: 1 } })
  const waiting = await slow.next()
  t.match(json(waiting), { body: 'while away' })
  await slow.publish(`im/to/u/${other}`, 'while behind')
  await peer.publish(`im/to/u/${me}`, 'one more')
  await slow.disconnect()

  const again = await connect(t, me, 'phone', kept)
  t.match(json(await again.next()), { body: 'while away' })
  await again.publish(`im/to/u/${other}`, 'of the next connection')
  await peer.publish(`im/to/u/${me}`, 'end')
  t.strictSame(await until(again, 'end'), ['one more'])
  await again.disconnect()

  await server.stop()
  await server.restart()
  const later = await connect(t, me, 'phone', kept)
  const friend = await connect(t, other, 'phone')
  await later.publish(`im/to/u/${other}`, 'after the restart')
  await friend.publish(`im/to/u/${me}`, 'end')
  t.strictSame(await until(later, 'end'), [], 'the option is kept with the session')
})

await t.test('notes are bounded', t => {
  const own = new OwnMessages(2)
  for (const seq of [1, 2, 3]) own.note('a/phone', 'd:a:b', seq)
  t.equal(own.size, 2)
  t.strictSame([1, 2, 2, 3].map(seq => own.take('a/phone', 'd:a:b', seq)), [false, true, false, true])
  t.equal(own.size, 0)
  t.end()
})
