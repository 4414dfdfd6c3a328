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

/** A session of which the log has: what another has said, what it has published itself, and that once more. It has acknowledged nothing. */
async function mixed (t: Test, receiveMaximum: number): Promise<{ me: string, other: string, peer: RawClient, open: RawClient }> {
  const [me, other] = [fresh('a'), fresh('b')]
  const [first, peer] = [await connect(t, me, 'phone', { ...kept, acknowledge: false, properties: { ...kept.properties, receiveMaximum } }), await connect(t, other, 'phone')]
  await subscribe(first, `im/u/${me}/inbox`, true)
  for (const n of [1, 2, 3]) {
    await peer.publish(`im/to/u/${me}`, `theirs ${n}`)
    if (n <= receiveMaximum) t.match(json(await first.next()), { body: `theirs ${n}` })
    await first.publish(`im/to/u/${other}`, `mine ${n}`)
  }
  return { me, other, peer, open: first }
}

for (const [at, next, end] of [[10, 10, 'DISCONNECT'], [10, 1, 'DISCONNECT'], [10, 2, 'a takeover'], [1, 1, 'a cut'], [1, 10, 'a takeover'], [2, 1, 'a cut']] as const) {
  await t.test(`what lies among unacknowledged messages stays away: Receive Maximum ${at}, then ${next}, between them ${end}`, async t => {
    const { me, peer, open } = await mixed(t, at)
    if (end === 'DISCONNECT') await open.disconnect()
    else if (end === 'a cut') open.cut()
    // Once more without an acknowledgement: it is read from the log each time.
    const again = { ...kept, properties: { ...kept.properties, receiveMaximum: next } }
    const second = await connect(t, me, 'phone', { ...again, acknowledge: false })
    t.match(json(await second.next()), { body: 'theirs 1' })
    await second.ping()
    const third = await connect(t, me, 'phone', again)
    await peer.publish(`im/to/u/${me}`, 'end')
    t.strictSame(await until(third, 'end'), ['theirs 1', 'theirs 2', 'theirs 3'])
  })
}

await t.test('a copy that was sent, and not acknowledged, is sent again, whatever is asked for by then [MQTT-4.4.0-1]', async t => {
  const me = fresh('a')
  const first = await connect(t, me, 'phone', { ...kept, acknowledge: false })
  await subscribe(first, `im/u/${me}/inbox`, true)
  await subscribe(first, `im/u/${me}/#`, false)
  await first.publish(`im/to/u/${fresh('b')}`, 'mine')
  t.match(json(await first.next()), { body: 'mine' })
  await subscribe(first, `im/u/${me}/#`, true)
  await first.disconnect()
  const again = await connect(t, me, 'phone', kept)
  const copy = await again.next()
  t.match(json(copy), { body: 'mine' })
  t.equal(copy.dup, true)
})

await t.test('the option of the inbox holds for what was published in a group that is not read any more', async t => {
  const [me, other, gid] = [fresh('a'), fresh('b'), fresh('g')]
  const [phone, peer] = [await connect(t, me, 'phone', { ...kept, acknowledge: false, properties: { ...kept.properties, receiveMaximum: 1 } }), await connect(t, other, 'phone')]
  await peer.publish('im/rpc/groups.create', JSON.stringify({ rid: '1', gid, name: 'G', members: [me] }))
  t.match(json(await peer.next(`im/u/${other}/rpc/1`)), { ok: true })
  await subscribe(phone, `im/u/${me}/inbox`, true)
  await subscribe(phone, `im/g/${gid}`, false)
  await phone.ping()
  await peer.publish(`im/to/g/${gid}`, 'theirs')
  // It has no room for the copy yet.
  await phone.publish(`im/to/g/${gid}`, 'mine')
  phone.send({ cmd: 'unsubscribe', messageId: phone.nextId(), unsubscriptions: [`im/g/${gid}`] })
  await phone.packets.take(packet => packet.cmd === 'unsuback')
  await phone.disconnect()
  const again = await connect(t, me, 'phone', kept)
  await peer.publish(`im/to/u/${me}`, 'end')
  t.notOk((await until(again, 'end')).includes('mine'))
})

await t.test('what was left out, and is read again with a filter that brings it, has no DUP [MQTT-3.3.1-1]', async t => {
  const [me, other] = [fresh('a'), fresh('b')]
  const [phone, peer] = [await connect(t, me, 'phone', { ...kept, acknowledge: false }), await connect(t, other, 'phone')]
  await subscribe(phone, `im/u/${me}/inbox`, true)
  for (const body of ['one', 'two']) await peer.publish(`im/to/u/${me}`, body)
  const one = await phone.next()
  t.match(json(one), { body: 'one' })
  t.match(json(await phone.next()), { body: 'two' })
  await phone.publish(`im/to/u/${other}`, 'mine')
  phone.send({ cmd: 'unsubscribe', messageId: phone.nextId(), unsubscriptions: [`im/u/${me}/inbox`] })
  await phone.packets.take(packet => packet.cmd === 'unsuback')
  // With the cursor the store hears how far the stream has come: past what was left out.
  phone.puback(one.messageId)
  await subscribe(phone, `im/u/${me}/#`, false)
  const copy = await phone.next(`im/u/${me}/inbox`)
  t.match(json(copy), { body: 'mine' })
  t.equal(copy.dup, false)
})

await t.test('an end of the server forgets nothing of a session that it could put away', async t => {
  const { me, other, open } = await mixed(t, 10)
  await open.disconnect()
  for (let restart = 0; restart < 2; restart++) {
    await server.stop()
    await server.restart()
    const again = await connect(t, me, 'phone', { ...kept, acknowledge: false, properties: { ...kept.properties, receiveMaximum: 1 } })
    t.match(json(await again.next()), { body: 'theirs 1' })
    await again.disconnect()
  }
  const [last, peer] = [await connect(t, me, 'phone', kept), await connect(t, other, 'phone')]
  await peer.publish(`im/to/u/${me}`, 'end')
  t.strictSame(await until(last, 'end'), ['theirs 1', 'theirs 2', 'theirs 3'])
})

await t.test('notes are kept until the cursor has passed them', t => {
  const own = new OwnMessages()
  const have = (conv: string): number[] => [1, 2, 3, 4, 5, 6, 7, 8].filter(seq => own.has('a/phone', conv, seq))
  for (const seq of [5, 1, 2, 7, 3, 2]) own.note('a/phone', 'd:a:b', seq)
  own.note('a/phone', 'd:a:c', 8)
  t.strictSame([have('d:a:b'), have('d:a:b'), have('d:a:c'), own.size], [[1, 2, 3, 5, 7], [1, 2, 3, 5, 7], [8], 4], 'read as often as need be')
  own.note('a/phone', 'd:a:b', 6)
  t.strictSame([have('d:a:b'), own.size], [[1, 2, 3, 5, 6, 7], 3])
  t.strictSame(own.list('a/phone'), [{ conv: 'd:a:c', runs: [{ first: 8, last: 8 }] }, { conv: 'd:a:b', runs: [{ first: 1, last: 3 }, { first: 5, last: 7 }] }])
  own.note('a/phone', 'd:a:b', 2, 6)
  t.strictSame(own.list('a/phone')[1], { conv: 'd:a:b', runs: [{ first: 1, last: 7 }] })
  own.passed('a/phone', 'd:a:b', 2)
  own.passed('a/tablet', 'd:a:b', 9)
  t.strictSame([have('d:a:b'), own.size], [[3, 4, 5, 6, 7], 2])
  own.passed('a/phone', 'd:a:b', 7)
  own.passed('a/phone', 'd:a:c', 8)
  t.equal(own.size, 0)
  t.strictSame(own.list('a/phone'), [])
  t.end()
})

await t.test('notes are bounded', t => {
  const own = new OwnMessages(30, 20)
  const noted = (session: string): number[] => own.list(session).flatMap(({ runs }) => runs.map(({ first }) => first))
  own.note('a/quiet', 'd:a:b', 1)
  for (let seq = 2; seq <= 60; seq += 2) own.note('a/phone', 'd:a:b', seq)
  t.strictSame([noted('a/phone').length, noted('a/phone')[0], own.size], [20, 22, 21], 'of one session')
  for (let seq = 2; seq <= 40; seq += 2) own.note('a/tablet', 'd:a:b', seq)
  t.strictSame([noted('a/quiet'), noted('a/phone').length, noted('a/tablet').length, own.size], [[], 14, 16, 30], 'of all')
  t.end()
})
