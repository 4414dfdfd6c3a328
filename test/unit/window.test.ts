/** What is in flight: entries in the session's window, packet ids in the MQTT sink. */
import t from 'tap'
import { firstIdBehind, maxChatPacketId, maxWindow, PacketIds, type SentPacket } from '../../broker/gateway/connection/packet-ids.ts'
import { Stream, type Reader } from '../../broker/gateway/delivery/stream.ts'
import { Window } from '../../broker/gateway/delivery/window.ts'

const reader: Reader = { id: 'bob/phone', user: 'bob', stored: true, cold: false, keepsPace: true, passed: undefined, streams: new Map(), live: () => {}, missed: () => {} }
function streamOf (id: string): Stream { return new Stream(reader, id, 'direct', Buffer.from('t'), 1, 0, 100) }

await t.test('a cursor follows the oldest entry that is not acknowledged', async t => {
  const window = new Window(3)
  const [a, b] = [streamOf('d:alice:bob'), streamOf('d:bob:carol')]
  window.add(a, 1, 0)
  window.add(b, 1, 0)
  window.add(a, 2, 0)
  t.equal(window.free, 0)
  const settled: string[] = []
  const note = (stream: Stream, seq: number): void => { settled.push(`${stream.id} ${seq}`) }
  t.ok(window.acknowledge('d:alice:bob', 2, note))
  t.notOk(window.acknowledge('d:alice:bob', 2, note), 'once')
  t.notOk(window.acknowledge('d:alice:bob', 3, note), 'it was not sent')
  t.notOk(window.acknowledge('d:bob:carol', 2, note), 'nor this one')
  t.strictSame(settled, [], 'older ones wait')
  t.equal(window.free, 0)
  t.ok(window.acknowledge('d:alice:bob', 1, note))
  t.strictSame(settled, ['d:alice:bob 1'])
  window.add(b, 2, 0)
  t.ok(window.acknowledge('d:bob:carol', 1, note))
  t.strictSame(settled, ['d:alice:bob 1', 'd:bob:carol 1', 'd:alice:bob 2'])
  t.strictSame([window.count, a.inflight, b.inflight], [1, 0, 1])
})

await t.test('a stream that begins anew has what is in flight of the earlier one', async t => {
  const window = new Window(3)
  const [before, after] = [streamOf('d:alice:bob'), streamOf('d:alice:bob')]
  window.add(before, 7, 0)
  window.adopt(after)
  t.strictSame([after.inflight, window.hasOrphans('d:alice:bob'), window.orphaned], [0, false, false], 'the earlier one is there still')
  window.orphan('d:alice:bob')
  t.strictSame([window.hasOrphans('d:alice:bob'), window.hasOrphans('d:bob:carol'), window.orphaned], [true, false, true])
  window.adopt(after)
  t.notOk(window.hasOrphans('d:alice:bob'))
  t.strictSame([after.inflight, after.sentTo], [1, 7])
  let settled: Stream | undefined
  t.ok(window.acknowledge('d:alice:bob', 7, stream => { settled = stream }))
  t.equal(settled, after)
})

await t.test('packet ids begin anywhere: a PUBACK that a library kept from an earlier connection finds nothing', async t => {
  const first = new Set(Array.from({ length: 100 }, () => new PacketIds(64).add('d:alice:bob', 1, 0)))
  t.ok(first.size > 90, 'of 100 connections hardly two begin with the same one')
  for (const id of first) t.ok(id >= 1 && id <= maxChatPacketId)
  const ids = new PacketIds(64, 500)
  t.equal(ids.add('d:alice:bob', 1, 0), 500)
  t.equal(ids.find(1), -1)
  t.equal(ids.find(0), -1)
  t.equal(ids.count, 1)
})

await t.test('behind the last one comes the first, and what is sent again keeps its own', async t => {
  const ids = new PacketIds(4, maxChatPacketId)
  const add = (seq: number, packetId?: number): number => ids.add('d:alice:bob', seq, seq * 10, packetId)
  t.strictSame([add(1), add(2), add(3, 32_000), add(4)], [maxChatPacketId, 1, 32_000, 2])
  const second = ids.find(1)
  t.strictSame([ids.streamAt(second), ids.seqAt(second), ids.answeredAt(second)], ['d:alice:bob', 2, 20])
  ids.free(second)
  t.equal(ids.find(1), -1, 'acknowledged once')
  t.strictSame(ids.list().map(one => one.packetId), [maxChatPacketId, 32_000, 2])
  t.equal(ids.count, 4, 'an older one waits')
  ids.free(ids.find(maxChatPacketId))
  t.equal(ids.count, 2)
  t.strictSame([add(5), add(6)], [3, 4])
  t.strictSame(ids.list().map(one => [one.packetId, one.seq]), [[32_000, 3], [2, 4], [3, 5], [4, 6]])
})

await t.test('no packet id is in use twice', async t => {
  const ids = new PacketIds(maxWindow, 1)
  const used = new Set<number>([ids.add('d:alice:bob', 1, 0)])
  // The oldest stays; all the others come and go until the ring is full of them.
  for (let seq = 2; seq <= maxWindow; seq++) {
    const id = ids.add('d:alice:bob', seq, 0)
    if (used.has(id)) t.fail(`packet id ${id} is in use`)
    used.add(id)
    ids.free(ids.find(id))
  }
  t.equal(ids.count, maxWindow)
})

await t.test('a stream that takes over what is not acknowledged is not past it', async t => {
  const window = new Window(3)
  const [left, after] = [streamOf('d:alice:bob'), new Stream(reader, 'd:alice:bob', 'direct', Buffer.from('t'), 1, 9, 100)]
  window.add(left, 7, 0)
  window.add(left, 5, 0)
  window.orphan('d:alice:bob')
  window.adopt(after)
  t.strictSame([after.acked, after.sentTo], [4, 9])
})

await t.test('what is new on a connection has ids far from those that its predecessor may have used, and none that is in use', async t => {
  const sent = (...ids: number[]): SentPacket[] => ids.map((packetId, i) => ({ packetId, stream: 'd:alice:bob', seq: i + 1 }))
  t.equal(firstIdBehind([], 64), undefined, 'any')
  for (const [resumed, window] of [[sent(29_670), 64], [sent(maxChatPacketId, 3, 40), 64], [sent(1, maxWindow), maxWindow], [sent(500), maxWindow]] as const) {
    const first = firstIdBehind(resumed, window) as number
    const newest = resumed.at(-1)?.packetId as number
    if (window === 64) t.ok((first - newest + maxChatPacketId) % maxChatPacketId > 10_000, `${first} is far from ${newest}`)
    const ids = new PacketIds(window, first)
    const used = new Set(resumed.map(({ packetId }, i) => ids.add('d:alice:bob', i + 1, 0, packetId)))
    for (let seq = resumed.length + 1; seq <= window; seq++) used.add(ids.add('d:alice:bob', seq, 0))
    t.equal(used.size, window, 'each once')
    t.ok([...used].every(id => id >= 1 && id <= maxChatPacketId))
  }
})
