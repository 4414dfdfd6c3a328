/**
 * Packets that are sent again with DUP by senders without a client message id: what may be taken for its first try, and what
 * must not be. A publish that the server never read is one that its client wrote into a connection that broke.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { json, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)
const to = 'im/to/u/bob'

/** A user with one client id of its own: each case is another one's. */
class Sender {
  static #count = 0
  readonly user = `sender-${++Sender.#count}`
  readonly clean: boolean

  constructor (clean = false) { this.clean = clean }

  async start (clean = this.clean): Promise<RawClient> {
    return (await RawClient.connect(t, server.mqttPort, { user: this.user, clientId: 'pen', clean })).client
  }

  /** The bodies of what is stored. */
  async stored (): Promise<unknown[]> {
    const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
    await bob.publish('im/rpc/messages.history', JSON.stringify({ rid: '1', with: this.user, limit: 100 }))
    const { result } = json(await bob.next('im/u/bob/rpc/1')) as { result: { messages: Array<{ body: unknown }> } }
    await bob.disconnect()
    return result.messages.map(one => one.body)
  }
}

async function cut (client: RawClient): Promise<void> {
  client.cut()
  await client.closed
}

async function killed (clients: readonly RawClient[]): Promise<void> {
  await server.kill9()
  await Promise.all(clients.map(async client => { await client.closed }))
  await server.restart()
}

for (const kind of ['persistent', 'clean']) {
  await t.test(`a new message is stored though it looks like a resend: ${kind} session`, async t => {
    const cases = []
    for (const end of ['DISCONNECT', 'a cut']) {
      for (const broken of ['a cut', 'kill -9']) cases.push({ end, broken, sender: new Sender(kind === 'clean'), second: undefined as RawClient | undefined })
    }
    for (const one of cases) {
      // The first run of an app whose packet ids begin at 1.
      const first = await one.sender.start()
      await first.publish(to, 'ok', { messageId: 1 })
      await first.publish(to, 'something else', { messageId: 2 })
      if (one.end === 'DISCONNECT') await first.disconnect()
      else await cut(first)
      // The second run: its publish is never read, the connection breaks.
      one.second = await one.sender.start()
      if (one.broken === 'a cut') await cut(one.second)
    }
    await killed(cases.filter(one => one.broken !== 'a cut').map(one => one.second as RawClient))
    for (const { sender, end, broken } of cases) {
      const third = await sender.start()
      await third.publish(to, 'ok', { messageId: 1, dup: true })
      t.same(await sender.stored(), ['ok', 'something else', 'ok'], `the first run ended by ${end}, the second by ${broken}`)
      await cut(third)
    }
  })
}

await t.test('after DISCONNECT a DUP is a new message: everything was answered', async t => {
  const sender = new Sender()
  const first = await sender.start()
  await first.publish(to, 'ok', { messageId: 1 })
  await first.disconnect()
  const second = await sender.start()
  await second.publish(to, 'ok', { messageId: 1, dup: true })
  t.same(await sender.stored(), ['ok', 'ok'])
})

await t.test('after a clean start a DUP is a new message', async t => {
  const sender = new Sender()
  const first = await sender.start()
  await first.publish(to, 'ok', { messageId: 1 })
  await cut(first)
  const second = await sender.start(true)
  await second.publish(to, 'ok', { messageId: 1, dup: true })
  t.same(await sender.stored(), ['ok', 'ok'])
})

/** What tells the server that the PUBACK of packet id 1 arrived. */
const proofs: Record<string, (client: RawClient, user: string) => Promise<unknown>> = {
  // A copy of what was sent is written behind the PUBACK, and acknowledged by the harness.
  'the PUBACK of a delivery written after it': async (client, user) => await client.next(`im/u/${user}/inbox`),
  'two PINGREQs': async client => {
    await client.ping()
    await client.ping()
  },
  'its packet id in a SUBSCRIBE': async (client, user) => {
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `im/u/${user}/event`, qos: 1 }] })
    await client.packets.take(p => p.cmd === 'suback')
  },
  'its packet id in an UNSUBSCRIBE': async client => {
    client.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['im/g/+'] })
    await client.packets.take(p => p.cmd === 'unsuback')
  },
  'its packet id in a request': async client => await client.publish('im/rpc/unread', '{"rid":"1"}', { messageId: 1 }),
  'its packet id in a message with cid': async client => await client.publish('im/to/u/carol', '{"cid":"c","body":"x"}', { messageId: 1 }),
  'its packet id in a refused publish': async client => await client.publish(to, '', { messageId: 1 }),
  'its packet id in a publish to a topic that there is not': async client => await client.publish('im/to/nobody', 'x', { messageId: 1 }),
  'its packet id in a publish to a topic that is not open': async client => await client.publish('elsewhere', 'x', { messageId: 1 }),
  'the packet id of a later one': async client => {
    await client.publish(to, 'later', { messageId: 2 })
    await client.publish(to, 'and again', { messageId: 2 })
  },
  'its PUBREL (QoS 2)': async client => {
    client.send({ cmd: 'publish', topic: to, payload: 'exactly', qos: 2, dup: false, retain: false, messageId: 3 })
    await client.packets.take(p => p.cmd === 'pubrec')
    client.send({ cmd: 'pubrel', messageId: 3 })
    await client.packets.take(p => p.cmd === 'pubcomp')
  }
}

for (const end of ['a cut', 'kill -9']) {
  await t.test(`the PUBACK surely arrived, so what comes with DUP is new, after ${end}`, async t => {
    const cases = []
    for (const [name, prove] of Object.entries(proofs)) {
      const sender = new Sender()
      const first = await sender.start()
      if (name.includes('delivery')) await first.subscribe(`im/u/${sender.user}/inbox`)
      await first.publish(to, 'ok', { messageId: 1 })
      await prove(first, sender.user)
      await first.ping()
      cases.push({ name, sender, first })
    }
    if (end === 'kill -9') {
      // What was learnt is written within a second or so.
      await sleep(2500)
      await killed(cases.map(one => one.first))
    } else {
      for (const one of cases) await cut(one.first)
    }
    for (const { name, sender } of cases) {
      const second = await sender.start()
      await second.publish(to, 'ok', { messageId: 1, dup: true })
      t.same((await sender.stored()).filter(body => body === 'ok'), ['ok', 'ok'], name)
      await cut(second)
    }
  })
}

for (const end of ['a cut', 'kill -9']) {
  await t.test(`a PUBLISH whose answer is lost by ${end} is stored once, also when that happens again and again`, async t => {
    const cases = [1, 2].map(qos => ({ qos: qos as 1 | 2, sender: new Sender() }))
    for (let round = 0; round < 4; round++) {
      const clients: RawClient[] = []
      for (const { qos, sender } of cases) {
        const client = await sender.start()
        client.send({ cmd: 'publish', topic: to, payload: 'once', qos, dup: round > 0, retain: false, messageId: 9 })
        await client.packets.take(p => p.cmd === (qos === 1 ? 'puback' : 'pubrec'))
        clients.push(client)
      }
      if (end === 'kill -9') await killed(clients)
      else for (const client of clients) await cut(client)
    }
    for (const { qos, sender } of cases) t.same(await sender.stored(), ['once'], `QoS ${qos}`)
  })
}

await t.test('QoS 2: behind a DISCONNECT that came before PUBREL the resend is still the first one', async t => {
  const sender = new Sender()
  const packet = { cmd: 'publish' as const, topic: to, payload: 'once', qos: 2 as const, retain: false, messageId: 9 }
  const first = await sender.start()
  first.send({ ...packet, dup: false })
  await first.packets.take(p => p.cmd === 'pubrec')
  await first.disconnect()
  const second = await sender.start()
  second.send({ ...packet, dup: true })
  await second.packets.take(p => p.cmd === 'pubrec')
  t.same(await sender.stored(), ['once'])
})

await t.test('QoS 2: two PINGREQs before PUBREL show nothing, their client may not have read what was written before', async t => {
  const sender = new Sender()
  const packet = { cmd: 'publish' as const, topic: to, payload: 'once', qos: 2 as const, retain: false, messageId: 9 }
  const first = await sender.start()
  first.send({ ...packet, dup: false })
  await first.packets.take(p => p.cmd === 'pubrec')
  await first.ping()
  await first.ping()
  await first.ping()
  await cut(first)
  const second = await sender.start()
  second.send({ ...packet, dup: true })
  await second.packets.take(p => p.cmd === 'pubrec')
  t.same(await sender.stored(), ['once'])
})
