/** Shared subscriptions to chat topics (MQTT 5, section 4.8.2): the workers of one user, each message to one of them. */
import type { IPublishPacket, ISubackPacket, IUnsubackPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { fresh } from '../support/clauses.ts'
import { RawClient, json } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { limits: { inflight: 8, shareMembers: 4 } }, sessions: { maxSharesPerUser: 3 } } })
const kept: RawConnect = { clean: false, properties: { sessionExpiryInterval: 1000 } }

async function connect (t: Test, user: string, clientId: string, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user, clientId, ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, `${user}/${clientId} is connected`)
  return client
}

async function subscribe (client: RawClient, topic: string, { qos = 1 as 0 | 1 | 2, identifier = undefined as number | undefined } = {}): Promise<number> {
  const messageId = client.nextId()
  client.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos }], ...identifier !== undefined && { properties: { subscriptionIdentifier: identifier } } })
  const suback = await client.packets.take(packet => packet.cmd === 'suback' && packet.messageId === messageId, 15_000, 'suback') as ISubackPacket
  return suback.granted[0] as number
}

async function unsubscribe (client: RawClient, filter: string): Promise<void> {
  const messageId = client.nextId()
  client.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [filter] })
  const unsuback = await client.packets.take(packet => packet.cmd === 'unsuback' && packet.messageId === messageId, 15_000, 'unsuback') as IUnsubackPacket
  if (unsuback.granted[0] !== 0) throw new Error(`no subscription to ${filter}`)
}

const shared = (bot: string, name = 'w') => `$share/${name}/im/u/${bot}/inbox`
const body = (packet: IPublishPacket) => json(packet)['body'] as string
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => String(from + i))
const waiting = (client: RawClient) => client.packets.waiting.filter(packet => packet.cmd === 'publish')

async function send (sender: RawClient, bot: string, texts: readonly string[]): Promise<void> {
  for (const text of texts) if ((await sender.publish(`im/to/u/${bot}`, text)).reasonCode ?? 0) throw new Error('refused')
}

/** Takes what the clients have got when so many have come in all, and shows that there is no other. */
async function gathered (t: Test, clients: readonly RawClient[], count: number): Promise<string[][]> {
  const pings = () => Promise.all(clients.map(client => client.ping()))
  for (const deadline = Date.now() + 15_000; clients.reduce((sum, client) => sum + waiting(client).length, 0) < count && Date.now() < deadline;) await pings()
  await pings()
  await pings()
  const got = []
  for (const client of clients) {
    const own: string[] = []
    while (waiting(client).length > 0) own.push(body(await client.next()))
    got.push(own)
  }
  t.equal(got.flat().length, count, `${count} and no more`)
  return got
}

await t.test('each message goes to one worker, and to each other device', async t => {
  const [bot, alice, carol] = [fresh('bot'), fresh('alice'), fresh('carol')]
  const workers = [await connect(t, bot, 'w1'), await connect(t, bot, 'w2'), await connect(t, bot, 'w3', kept)]
  for (const [i, worker] of workers.entries()) t.equal(await subscribe(worker, shared(bot), { qos: i === 1 ? 2 : 1, identifier: 70 + i }), 1, 'QoS 1 at most')
  const device = await connect(t, bot, 'phone')
  await subscribe(device, `im/u/${bot}/inbox`)
  const senders = [await connect(t, alice, 'a'), await connect(t, carol, 'c')]
  await Promise.all(senders.map((sender, i) => send(sender, bot, numbers(30, 100 * i + 1))))
  const all = [...numbers(30), ...numbers(30, 101)]
  const own = []
  for (const [i, worker] of workers.entries()) {
    await worker.ping()
    const packets = waiting(worker) as IPublishPacket[]
    t.ok(packets.every(({ dup, qos, topic, properties }) => !dup && qos === 1 && topic === `im/u/${bot}/inbox` && properties?.subscriptionIdentifier === 70 + i), 'as it was subscribed [MQTT-3.3.4-3]')
    own.push(packets.map(body))
  }
  const parts = await gathered(t, workers, 60)
  t.strictSame(parts, own)
  t.strictSame(parts.flat().sort(), [...all].sort())
  for (const part of parts) {
    t.ok(part.length >= 16, `${part.length} of 60`)
    for (const of of [0, 100]) {
      const those = part.map(Number).filter(n => n > of && n <= of + 100)
      t.strictSame(those, [...those].sort((a, b) => a - b), 'of a conversation in order')
    }
  }
  t.strictSame((await gathered(t, [device], 60))[0]?.sort(), [...all].sort())
})

await t.test('what nobody has acknowledged is not told as delivered, and waits, over several lives of a share', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const one: RawConnect = { acknowledge: false, properties: { receiveMaximum: 1 } }
  const sender = await connect(t, alice, 'a')
  await subscribe(sender, `im/u/${alice}/event`)
  const slow = await connect(t, bot, 'slow', one)
  await subscribe(slow, shared(bot))
  await send(sender, bot, ['1'])
  t.equal(body(await slow.next()), '1')
  const fast = await connect(t, bot, 'fast')
  await subscribe(fast, shared(bot))
  await send(sender, bot, ['2', '3'])
  await gathered(t, [fast], 2)
  for (const client of [fast, slow]) await client.disconnect()
  for (const life of ['second', 'third']) {
    const again = await connect(t, bot, life, one)
    await subscribe(again, shared(bot))
    t.equal(body(await again.next()), '1', `in its ${life} life`)
    await again.disconnect()
  }
  const phone = await connect(t, bot, 'phone')
  await subscribe(phone, `im/u/${bot}/inbox`)
  const last = await connect(t, bot, 'last')
  await subscribe(last, shared(bot))
  t.strictSame(await gathered(t, [phone, last], 4), [['1', '2', '3'], ['1']])
  t.match(json(await sender.next(`im/u/${alice}/event`)), { kind: 'delivered', seq: 3 }, 'now all are')
  t.strictSame(waiting(sender), [], 'and before none was')
})

await t.test('what the bot says itself is work for nobody, but for what it says to itself', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const workers = [await connect(t, bot, 'w1'), await connect(t, bot, 'w2')]
  for (const worker of workers) await subscribe(worker, shared(bot))
  const sender = await connect(t, alice, 'a')
  await subscribe(sender, `im/u/${alice}/inbox`)
  await send(sender, bot, ['ask'])
  await gathered(t, workers, 1)
  await send(workers[0] as RawClient, alice, ['{"from":"x","body":"answer"}', 'answer'])
  await send(workers[0] as RawClient, bot, ['note'])
  t.strictSame((await gathered(t, workers, 1)).flat(), ['note'])
  await workers[1]?.publish('im/rpc/groups.create', JSON.stringify({ rid: '1', gid: `g-${bot}`, name: 'g', members: [alice] }))
  await workers[1]?.publish(`im/to/g/g-${bot}`, 'of the group')
  await send(sender, bot, ['end'])
  const texts = (await Promise.all(workers.map(async worker => {
    await worker.ping()
    return waiting(worker) as IPublishPacket[]
  }))).flat().filter(({ topic }) => topic === `im/u/${bot}/inbox`).map(body)
  t.strictSame(texts, ['end'])
})

await t.test('a slow worker gets no more than it takes; what it had goes to others, first and in order, when it is cut', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const slow = await connect(t, bot, 'slow', { acknowledge: false, properties: { receiveMaximum: 3 } })
  await subscribe(slow, shared(bot))
  const sender = await connect(t, alice, 'a')
  await send(sender, bot, numbers(4))
  t.strictSame(await gathered(t, [slow], 3), [numbers(3)])
  const other = await connect(t, bot, 'other', { acknowledge: false, properties: { receiveMaximum: 5 } })
  await subscribe(other, shared(bot))
  await send(sender, bot, numbers(40, 5))
  t.strictSame(await gathered(t, [slow, other], 5), [[], numbers(5, 4)], 'the rest waits')
  slow.cut()
  const fast = await connect(t, bot, 'fast')
  await subscribe(fast, shared(bot))
  const got: IPublishPacket[] = []
  while (got.length < 39) got.push(await fast.next())
  t.strictSame(got.map(body), [...numbers(3), ...numbers(36, 9)])
  t.notOk(got.some(({ dup }) => dup), 'it never had them')
  other.cut()
  t.strictSame(await gathered(t, [fast], 5), [numbers(5, 4)])
})

await t.test('the only worker, too, though its share was closed while it was away', async t => {
  for (const how of ['its connection ends', 'the server stops'] as const) {
    const [bot, alice] = [fresh('bot'), fresh('alice')]
    const options: RawConnect = { ...kept, acknowledge: false }
    const worker = await connect(t, bot, 'w1', options)
    await subscribe(worker, shared(bot))
    await send(await connect(t, alice, 'a'), bot, numbers(3))
    t.strictSame(await gathered(t, [worker], 3), [numbers(3)])
    if (how === 'the server stops') {
      await server.stop()
      await server.restart()
    } else {
      worker.cut()
      await worker.closed
    }
    const back = await connect(t, bot, 'w1', options)
    await send(await connect(t, alice, 'b'), bot, ['4'])
    const again = [await back.next(), await back.next(), await back.next(), await back.next()]
    t.strictSame(again.map(packet => [body(packet), packet.dup]), [['1', true], ['2', true], ['3', true], ['4', false]], `[MQTT-3.3.1-1] when ${how}`)
    back.cut()
    await back.closed
    const other = await connect(t, bot, 'w2')
    await subscribe(other, shared(bot))
    t.strictSame([await other.next(), await other.next(), await other.next(), await other.next()].map(packet => [body(packet), packet.dup]), numbers(4).map(text => [text, false]), 'who never had it gets it without')
  }
})

await t.test('who comes back with its session gets with DUP what it had', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const options: RawConnect = { acknowledge: false, clean: false, properties: { sessionExpiryInterval: 1000, receiveMaximum: 4 } }
  const first = await connect(t, bot, 'w1', options)
  const second = await connect(t, bot, 'w2', { acknowledge: false, properties: { receiveMaximum: 1 } })
  for (const worker of [first, second]) await subscribe(worker, shared(bot), { identifier: 5 })
  const sender = await connect(t, alice, 'a')
  await send(sender, bot, numbers(6))
  const [one = [], two = []] = await gathered(t, [first, second], 5)
  t.strictSame([one.length, two.length], [4, 1])
  first.cut()
  await first.closed
  const { client: back, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: bot, clientId: 'w1', ...options })
  t.ok(connack.sessionPresent)
  const again = []
  for (let i = 0; i < 4; i++) again.push(await back.next())
  t.strictSame(again.map(packet => [body(packet), packet.dup, packet.properties?.subscriptionIdentifier]), one.map(text => [text, true, 5]))
  for (const { messageId } of again) back.puback(messageId)
  const sixth = await back.next()
  t.strictSame([body(sixth), sixth.dup], ['6', false])
})

await t.test('a session that is taken over leaves what it had to the next connection', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const first = await connect(t, bot, 'w', { ...kept, acknowledge: false })
  await subscribe(first, shared(bot))
  const sender = await connect(t, alice, 'a')
  await send(sender, bot, numbers(12))
  await gathered(t, [first], 8)
  const next = await connect(t, bot, 'w', kept)
  t.match(await first.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x8e })
  t.strictSame(await gathered(t, [next], 12), [numbers(12)])
  const anew = await connect(t, bot, 'w')
  await send(sender, bot, ['13'])
  t.strictSame(await gathered(t, [anew], 0), [[]], 'a clean start has no subscription')
  await subscribe(anew, shared(bot))
  t.strictSame(await gathered(t, [anew], 1), [['13']], 'the share has gone on')
})

for (const how of ['they leave', 'the server stops', 'the server is killed'] as const) {
  await t.test(`all workers are gone and come back: ${how}`, async t => {
    const [bot, alice] = [fresh('bot'), fresh('alice')]
    const slow = await connect(t, bot, 'slow', { acknowledge: false, properties: { receiveMaximum: 2 } })
    await subscribe(slow, shared(bot))
    let sender = await connect(t, alice, 'a')
    await send(sender, bot, numbers(2))
    const fast = await connect(t, bot, 'fast', kept)
    await subscribe(fast, shared(bot))
    await send(sender, bot, numbers(18, 3))
    const [had = [], done = []] = await gathered(t, [slow, fast], 20)
    t.strictSame(had, ['1', '2'], 'the oldest')
    if (how === 'they leave') {
      slow.cut()
      await fast.disconnect()
    } else if (how === 'the server stops') await server.stop()
    else await server.kill9()
    if (how !== 'they leave') {
      await server.restart()
      sender = await connect(t, alice, 'a')
    }
    await send(sender, bot, numbers(20, 21))
    const workers = [await connect(t, bot, 'fast', kept), await connect(t, bot, 'new')]
    await subscribe(workers[1] as RawClient, shared(bot))
    const wanted = [...had, ...numbers(20, 21)]
    if (how === 'the server is killed') {
      const got = new Set<string>()
      while (!wanted.every(text => got.has(text))) {
        await Promise.all(workers.map(worker => worker.ping()))
        for (const worker of workers) while (waiting(worker).length > 0) got.add(body(await worker.next()))
      }
      t.ok([...got].every(text => wanted.includes(text) || done.includes(text)), 'nothing is lost; what was acknowledged behind the oldest may come again')
      return
    }
    const got = await gathered(t, workers, wanted.length)
    t.strictSame(got.flat().sort(), [...wanted].sort(), 'what was acknowledged does not come again')
    for (const part of got) t.strictSame(part, [...part].sort((a, b) => Number(a) - Number(b)), 'what was there first comes first')
  })
}

await t.test('who unsubscribes finishes what it has and gets nothing more; the last one ends the share', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const one = await connect(t, bot, 'one', { acknowledge: false })
  const two = await connect(t, bot, 'two')
  await subscribe(one, shared(bot))
  const sender = await connect(t, alice, 'a')
  await send(sender, bot, numbers(3))
  const first = [await one.next(), await one.next(), await one.next()]
  await subscribe(two, shared(bot))
  await unsubscribe(one, shared(bot))
  await send(sender, bot, ['4'])
  t.strictSame(await gathered(t, [one, two], 1), [[], ['4']], '[MQTT-3.10.4-2], and what is under way stays [MQTT-3.10.4-3]')
  for (const { messageId } of first.slice(0, 2)) one.puback(messageId)
  await one.ping()
  one.cut()
  t.strictSame(await gathered(t, [two], 1), [['3']], 'what it has not acknowledged comes to another when it has gone')
  await unsubscribe(two, shared(bot))
  await send(sender, bot, ['5'])
  const device = await connect(t, bot, 'phone')
  await subscribe(device, `im/u/${bot}/inbox`)
  t.strictSame(await gathered(t, [two, device], 1), [[], ['5']])
  await subscribe(two, shared(bot))
  t.strictSame(await gathered(t, [two], 0), [[]], 'it begins anew: a device of the user has had that')
})

await t.test('a session that is away keeps a share that the others have left', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const away = await connect(t, bot, 'away', kept)
  const here = await connect(t, bot, 'here')
  const device = await connect(t, bot, 'phone')
  await subscribe(device, `im/u/${bot}/inbox`)
  for (const worker of [away, here]) await subscribe(worker, shared(bot))
  await away.disconnect()
  await unsubscribe(here, shared(bot))
  const sender = await connect(t, alice, 'a')
  await send(sender, bot, ['1'])
  await gathered(t, [device], 1)
  t.strictSame(await gathered(t, [await connect(t, bot, 'away', kept)], 1), [['1']])
})

await t.test('groups', async t => {
  const [bot, alice, gid] = [fresh('bot'), fresh('alice'), fresh('g')]
  const owner = await connect(t, alice, 'a')
  await owner.publish('im/rpc/groups.create', JSON.stringify({ rid: '1', gid, name: 'g', members: [bot] }))
  const workers = [await connect(t, bot, 'w1'), await connect(t, bot, 'w2')]
  for (const worker of workers) for (const filter of [`$share/one/im/g/${gid}`, '$share/all/im/g/+']) t.equal(await subscribe(worker, filter), 1)
  for (const text of numbers(10)) await owner.publish(`im/to/g/${gid}`, text)
  // The system message of its making is one more.
  t.strictSame((await gathered(t, workers, 22)).flat().filter(text => typeof text === 'string').sort(), [...numbers(10), ...numbers(10)].sort(), 'once for each share [MQTT-4.8.2-4]')
  await owner.publish('im/rpc/groups.remove', JSON.stringify({ rid: '2', gid, users: [bot] }))
  await owner.publish(`im/to/g/${gid}`, 'not for the bot')
  t.strictSame(await gathered(t, workers, 0), [[], []], 'not for who is no member')
  t.equal(await subscribe(workers[0] as RawClient, `$share/one/im/g/${gid}`), 0x87, 'no member any more')
})

await t.test('each as it wants it: QoS 0, compact, no larger than its maximum', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const sender = await connect(t, alice, 'a')
  const compact = await connect(t, bot, 'compact')
  await subscribe(compact, `im/u/${bot}/compact`)
  await subscribe(compact, shared(bot))
  await send(sender, bot, ['short'])
  t.match(JSON.parse((await compact.next()).payload.toString()), [1, String, alice, 'short'])
  await unsubscribe(compact, shared(bot))
  const [small, zero] = [await connect(t, bot, 'small', { properties: { maximumPacketSize: 300 } }), await connect(t, bot, 'zero')]
  await subscribe(small, shared(bot))
  await subscribe(zero, shared(bot), { qos: 0 })
  await send(sender, bot, ['x'.repeat(400), 'y'.repeat(400)])
  t.strictSame((await gathered(t, [small, zero], 2)).map(part => part.length), [0, 2], 'to one that can take it')
  await unsubscribe(zero, shared(bot))
  await send(sender, bot, ['z'.repeat(400), 'end'])
  t.strictSame(await gathered(t, [small], 1), [['end']], 'what none can take counts as delivered [MQTT-3.1.2-25]')
})

await t.test('only what is one\'s own, and can be dealt, may be shared', async t => {
  const [bot, alice] = [fresh('bot'), fresh('alice')]
  const [mine, other] = [await connect(t, bot, 'w'), await connect(t, alice, 'w')]
  for (const filter of [`im/u/${alice}/inbox`, 'im/u/+/inbox', 'im/#', 'im/g/#', 'im/g/none', 'im/to/u/x', 'im']) t.equal(await subscribe(mine, `$share/w/${filter}`), 0x87, filter)
  for (const filter of ['im/server', `im/u/${bot}/compact`, `im/u/${bot}/rpc/+`]) t.equal(await subscribe(mine, `$share/w/${filter}`), 0x9e, filter)
  const old = await connect(t, bot, 'old', { version: 4 })
  t.strictSame(await old.subscribe(shared(bot)), [0x80], 'a filter as any other before MQTT 5')
  for (const filter of [`$share/w/im/u/${bot}/#`, `$share/w/im/u/${bot}/+`]) t.equal(await subscribe(mine, filter), 1)
  t.equal(await subscribe(other, `$share/w/im/u/${alice}/#`), 1, 'the same name of another user')
  const sender = await connect(t, fresh('carol'), 'c')
  await send(sender, bot, ['for the bot'])
  await send(sender, alice, ['for alice'])
  t.strictSame(await gathered(t, [mine, other], 3), [['for the bot', 'for the bot'], ['for alice']])
  for (const version of [4, 5] as const) {
    const { connack } = await RawClient.connect(t, server.mqttPort, { version, user: bot, clientId: shared(bot) })
    t.equal(connack.reasonCode ?? connack.returnCode, version === 5 ? 0x85 : 2, 'no device takes the name of a share')
  }
  mine.send({ cmd: 'subscribe', messageId: 77, subscriptions: [{ topic: shared(bot), qos: 1, nl: true }] })
  t.match(await mine.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x82 }, '[MQTT-3.8.3-4]')
})

await t.test('bounds: sessions of a share, shares of a user', async t => {
  const bot = fresh('bot')
  const workers = []
  for (let i = 0; i < 5; i++) workers.push(await connect(t, bot, `w${i}`))
  for (const [i, worker] of workers.entries()) t.equal(await subscribe(worker, shared(bot)), i < 4 ? 1 : 0x97, `the session ${i + 1} of 4`)
  const [first, , , , fifth] = workers as [RawClient, RawClient, RawClient, RawClient, RawClient]
  for (const name of ['x', 'y']) t.equal(await subscribe(fifth, shared(bot, name)), 1)
  t.equal(await subscribe(fifth, shared(bot, 'z')), 0x97, 'all are in use')
  await unsubscribe(first, shared(bot))
  t.equal(await subscribe(fifth, shared(bot)), 1, 'there is a place again')
  await unsubscribe(fifth, shared(bot, 'x'))
  t.equal(await subscribe(fifth, shared(bot, 'z')), 1, 'for another one')
})
