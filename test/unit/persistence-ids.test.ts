/** Packet ids of a session's queue while its connections come and go. */
import { EventEmitter } from 'node:events'
import t from 'tap'
import { recordsPersistence, type RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

type Packet = Parameters<RecordsPersistence['prepare']>[1]

class Broker extends EventEmitter {
  readonly id = 'broker'
  clients: Record<string, unknown> = {}
  authorizeForward: (client: { id: string }, packet: Packet) => unknown = (_client, packet) => packet
}

const client = (id: string) => ({ id, clean: false, conn: new EventEmitter() })

async function start (): Promise<{ broker: Broker, persistence: RecordsPersistence, /** as Aedes goes on after authorizePublish */ route: (text: string) => Promise<Packet> }> {
  const persistence = recordsPersistence({ records: new MemoryRecords(), offlineQueue: 100, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 100, retainedBytes: 100_000 })
  const broker = new Broker()
  await persistence.setup(broker)
  let counter = 0
  const route = async (text: string): Promise<Packet> => {
    const packet: Packet = { cmd: 'publish', topic: 'a', payload: Buffer.from(text), qos: 1, retain: false, brokerId: broker.id, brokerCounter: ++counter }
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic(packet.topic), packet)
    return packet
  }
  return { broker, persistence, route }
}

await t.test('what is under way to a connection that has ended takes no packet id of another message', async t => {
  const { persistence, broker, route } = await start()
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: '#', qos: 1 }])
  const first = client('c')
  broker.clients['c'] = first
  const one = await route('one')
  await persistence.outgoingUpdate(first, { ...one, messageId: 10 })
  broker.clients = {}
  broker.emit('clientDisconnect', first)
  t.equal(persistence.queueOf('c').inMemory, 0)
  const gone = Object.assign(client('c'), { closed: true })
  broker.clients['c'] = gone
  const two = await route('two')
  broker.clients = {}
  await persistence.outgoingUpdate(gone, { ...two, messageId: 10 })
  await persistence.outgoingUpdate(gone, { cmd: 'pubrel', messageId: 10 } as Packet)
  const stored = await persistence.outgoingStream(client('c')).toArray() as Array<{ cmd: string, messageId?: number }>
  t.strictSame(stored.map(({ cmd, messageId }) => [cmd, messageId]), [['publish', 10], ['publish', undefined]], '[MQTT-2.2.1-4]')
})

await t.test('a message is sent at the QoS that it was queued at, whatever is subscribed to by then', async t => {
  const { persistence, broker } = await start()
  for (const [before, after] of [[2, 1], [1, 2]] as const) {
    const id = `c${before}`
    const receiver = broker.clients[id] = client(id)
    const packet: Packet = { cmd: 'publish', topic: `${id}/1`, payload: Buffer.from('one'), qos: 2, retain: false, messageId: 7 }
    await persistence.addSubscriptions({ id }, [{ topic: `${id}/#`, qos: before }])
    await persistence.incomingStorePacket(client('p'), packet)
    await persistence.addSubscriptions({ id }, [{ topic: `${id}/#`, qos: after }])
    const named: Packet = { ...packet, brokerId: broker.id, brokerCounter: before }
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic(packet.topic), named)
    const live: Packet = { ...named, qos: after, messageId: 10 }
    await persistence.outgoingUpdate(receiver, live)
    t.equal(live.qos, before)
    const [again] = await persistence.outgoingStream(client(id)).toArray()
    t.match(again, { qos: before, dup: true, messageId: live.messageId })
  }
})
