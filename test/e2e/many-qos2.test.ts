/** Senders with many QoS 2 messages in flight: they get through, whatever they were told, also after a reconnect. */
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { wide } from '../support/configs.ts'
import { json, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const server = await startServer(t, { config: { ...wide, mqtt: { openTopics: ['open/#'] } } })

/** Sends all of it before any PUBREL, breaks off when told to, and ends the exchanges. */
async function send (user: string, topic: string, count: number, breaks: boolean): Promise<void> {
  const publish = (client: RawClient, dup: boolean): void => {
    for (let id = 1; id <= count; id++) {
      const packet: IPublishPacket = { cmd: 'publish', topic, payload: `${user} ${id}`, qos: 2, dup, retain: false, messageId: id }
      client.send(packet)
    }
  }
  const recorded = async (client: RawClient): Promise<void> => {
    for (let id = 1; id <= count; id++) await client.packets.take(p => p.cmd === 'pubrec' && p.messageId === id)
  }
  let { client } = await RawClient.connect(t, server.mqttPort, { user, clientId: 'pen', clean: false })
  publish(client, false)
  if (breaks) {
    await recorded(client)
    client.cut()
    await client.closed
    client = (await RawClient.connect(t, server.mqttPort, { user, clientId: 'pen', clean: false })).client
    publish(client, true)
  }
  await recorded(client)
  for (let id = 1; id <= count; id++) client.send({ cmd: 'pubrel', messageId: id })
  for (let id = 1; id <= count; id++) await client.packets.take(p => p.cmd === 'pubcomp' && p.messageId === id)
  await client.disconnect()
}

// On MongoDB each packet id that comes again is looked up by itself: a slow database must not make a time-out of it.
for (const count of sized({ level: [150, 1500], mongodb: [20] })) {
  for (const breaks of [false, true]) {
    const when = breaks ? ', sent again after a cut' : ''
    await t.test(`${count} chat messages in flight${when}`, async t => {
      const user = `chat-${count}-${String(breaks)}`
      await send(user, 'im/to/u/bob', count, breaks)
      const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
      await bob.publish('im/rpc/messages.history', JSON.stringify({ rid: '1', with: user, limit: 1 }))
      const { result } = json(await bob.next('im/u/bob/rpc/1')) as { result: { messages: Array<{ seq: number, body: string }> } }
      t.match(result.messages, [{ seq: count, body: `${user} ${count}` }], 'each is stored once')
    })

    await t.test(`${count} ordinary messages in flight${when}`, async t => {
      const topic = `open/${count}-${String(breaks)}`
      const { client: reader } = await RawClient.connect(t, server.mqttPort, { user: 'reader' })
      await reader.subscribe(topic)
      await send('writer', topic, count, breaks)
      for (let id = 1; id <= count; id++) t.equal((await reader.next(topic)).payload.toString(), `writer ${id}`)
      await reader.ping()
      t.equal(reader.received, count, 'each comes once')
    })
  }
}
