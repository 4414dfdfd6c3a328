/** The QoS 1 packets in flight. */
import t from 'tap'
import { Stream } from '../../broker/gateway/delivery/stream.ts'
import type { Session } from '../../broker/gateway/delivery/session.ts'
import { maxChatPacketId, Window } from '../../broker/gateway/delivery/window.ts'

const stream = new Stream({} as Session, 'd:alice:bob', 'direct', Buffer.from('t'), 1, 0, 100)
const never = (): void => { throw new Error('nothing is acknowledged') }

await t.test('packet ids begin anywhere: a PUBACK that a library kept from an earlier connection finds nothing', async t => {
  const first = new Set(Array.from({ length: 100 }, () => new Window(64).add(stream, 1, 0)))
  t.ok(first.size > 90, 'of 100 connections hardly two begin with the same one')
  for (const id of first) t.ok(id >= 1 && id <= maxChatPacketId)
  const window = new Window(64, 500)
  t.equal(window.add(stream, 1, 0), 500)
  t.equal(window.acknowledge(1, never), -1)
  t.equal(window.count, 1)
})

await t.test('behind the last one comes the first, and what is sent again keeps its own', async t => {
  const window = new Window(4, maxChatPacketId)
  t.same([window.add(stream, 1, 0), window.add(stream, 2, 0), window.add(stream, 3, 0, 77), window.add(stream, 4, 0)], [maxChatPacketId, 1, 77, 78])
  const settled: number[] = []
  window.acknowledge(1, (_, seq) => { settled.push(seq) })
  t.same(settled, [], 'an older one waits')
  window.acknowledge(maxChatPacketId, (_, seq) => { settled.push(seq) })
  t.same(settled, [1, 2])
})
