/** Messages that are on their way to the disk while the session they are for comes and goes. */
import { EventEmitter } from 'node:events'
import t from 'tap'
import type { PacketLike } from '../../broker/ordinary/persistence-packets.ts'
import { recordsPersistence } from '../../broker/ordinary/persistence.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

const packetOf = (payload: string): PacketLike => ({ cmd: 'publish', topic: 'x', payload: Buffer.from(payload), qos: 1, retain: false })
const bodiesOf = (packets: unknown[]) => (packets as PacketLike[]).map(({ payload }) => payload.toString())

/** `steps`: of the reading of its queue when the connection ends, in turns of promises. */
async function afterwards (steps: number): Promise<string[]> {
  const records = new MemoryRecords()
  const persistence = recordsPersistence({ records, offlineQueue: 100, offlineQueueBytes: 1_000_000, offlineBytes: 1_000_000, retained: 10, retainedBytes: 1000, routed: true })
  const broker = Object.assign(new EventEmitter(), { id: 'b', clients: {} })
  await persistence.setup(broker)
  await persistence.addSubscriptions({ id: 'c' }, [{ topic: 'x', qos: 1 }])
  await persistence.leave(packetOf('before'), [])
  const first = { id: 'c', clean: false, closed: false }
  broker.emit('clientDisconnect', { ...first, closed: true })
  const reading = persistence.outgoingStream(first).toArray()
  for (let i = 0; i < steps; i++) await Promise.resolve()
  let go = (): void => {}
  records.hold = new Promise(resolve => { go = resolve })
  const acknowledged = persistence.leave(packetOf('meanwhile'), [])
  first.closed = true
  broker.emit('clientDisconnect', first)
  for (let i = 0; i < 20; i++) await new Promise(resolve => { setImmediate(resolve) })
  records.hold = undefined
  go()
  await acknowledged
  await reading
  return bodiesOf(await persistence.outgoingStream({ id: 'c', clean: false }).toArray())
}

await t.test('what is acknowledged while a connection ends in the middle of its queue is for the next one', async t => {
  for (let steps = 0; steps < 40; steps++) t.strictSame(await afterwards(steps), ['before', 'meanwhile'], `after ${steps} steps`)
})
