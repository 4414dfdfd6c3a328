/** The window, acknowledgements, resumption and the limits that a client sets for what it is sent. */
import t from 'tap'
import { bench, name, settled, type MemoryClient } from '../support/memory-client.ts'

const inbox = [{ filter: 'im/u/bob/inbox', qos: 1 as const }]
const conv = 'd:alice:bob'

await t.test('acknowledgements out of order move no cursor past an unacknowledged message', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { clean: false })
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  for (let i = 0; i < 3; i++) engine.commit(conv, 'alice')
  await settled(engine)
  const [one, two, three] = bob.take()
  const ids = [one, two, three].map(p => p?.messageId as number)
  t.ok(ids[1] === ids[0] as number % 0x7fff + 1 && ids[2] === ids[1] % 0x7fff + 1, 'each follows the one before')
  bob.ack(three as { messageId: number })
  bob.ack(two as { messageId: number })
  access.pump.cursors.flush()
  t.equal(engine.cursor('bob/phone', conv), 0)
  bob.ack(one as { messageId: number })
  bob.ack(one as { messageId: number })
  bob.ack({ messageId: (ids[2] as number) % 0x7fff + 1 })
  access.pump.cursors.flush()
  t.equal(engine.cursor('bob/phone', conv), 3)
  t.equal(bob.closed, false, 'acknowledgements that fit nothing are ignored')
})

await t.test('a full window is read on from the log, in order, and packet ids are not used twice', async t => {
  const { engine, client } = bench(t, { inflight: 4 })
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  for (let i = 0; i < 10; i++) engine.commit(conv, 'alice')
  engine.commit('d:bob:carol', 'carol')
  await settled(engine)
  const seen: string[] = []
  const open = new Set<number>()
  for (let round = 0; round < 20 && seen.length < 11; round++) {
    const got = bob.take()
    for (const packet of got) {
      t.notOk(open.has(packet.messageId as number), 'the id is free')
      open.add(packet.messageId as number)
      seen.push(name(packet))
    }
    t.ok(open.size <= 4, 'no more than the window')
    for (const packet of got) {
      open.delete(packet.messageId as number)
      bob.ack(packet)
    }
    await settled(engine)
  }
  t.strictSame(seen.filter(one => one.startsWith(conv)), Array.from({ length: 10 }, (_, i) => `${conv}#${i + 1}`))
  t.equal(seen.length, 11)
})

await t.test('a window as large as the configuration allows stays within the packet ids of the chat side', async t => {
  const { engine, client } = bench(t, { inflight: 65_535 })
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  for (let i = 0; i < 33_000; i++) {
    engine.commit(conv, 'alice')
    if (i % 500 === 0) await settled(engine)
  }
  await settled(engine)
  const ids = bob.take().map(packet => packet.messageId as number)
  t.equal(new Set(ids).size, ids.length, 'no id twice')
  t.ok(Math.max(...ids) <= 0x7fff)
})

await t.test('what was in flight is sent again with its packet id and DUP', async t => {
  const { engine, client } = bench(t)
  for (let i = 0; i < 4; i++) engine.append(conv, 'alice')
  engine.store('bob/phone', { subscriptions: inbox, inflight: [{ packetId: 31, stream: conv, seq: 1 }, { packetId: 33, stream: conv, seq: 3 }] }, { [conv]: { seq: 0, sent: 3 } })
  const bob = client()
  t.equal((await bob.connect('bob', { clean: false })).sessionPresent, true)
  await settled(engine)
  const got = bob.take()
  t.strictSame(got.map(name), [`${conv}#1!`, `${conv}#3!`, `${conv}#4`], '2 was acknowledged, 4 is new')
  t.strictSame(got.slice(0, 2).map(one => one.messageId), [31, 33])
  t.not(got[2]?.messageId, 31)
  for (const one of got) bob.ack(one)
  bob.lose()
  await settled(engine)
  t.equal(engine.cursor('bob/phone', conv), 4)
  t.strictSame(engine.ends.at(-1)?.inflight, [])
})

await t.test('what was in flight stays in flight when the next connection ends before it is sent again', async t => {
  for (const call of ['openSession', 'read'] as const) {
    const { engine, client } = bench(t)
    for (let i = 0; i < 3; i++) engine.append(conv, 'alice')
    const inflight = [{ packetId: 31, stream: conv, seq: 1 }, { packetId: 33, stream: conv, seq: 3 }]
    engine.store('bob/phone', { subscriptions: inbox, inflight }, { [conv]: { seq: 0, sent: 3 } })
    engine.holding.add(call)
    const first = client()
    first.hello('bob', { clean: false })
    await settled(engine)
    first.lose()
    await settled(engine)
    engine.holding.clear()
    while (engine.held.length > 0) engine.next().now()
    await settled(engine)
    t.strictSame(engine.ends.at(-1)?.inflight, inflight, call)
    const second = client()
    await second.connect('bob', { clean: false })
    await settled(engine)
    t.strictSame(second.take().map(packet => [name(packet), packet.messageId]), [[`${conv}#1!`, 31], [`${conv}#3!`, 33]], '2 was acknowledged')
  }
})

await t.test('a Receive Maximum smaller than what was in flight', async t => {
  const { engine, client } = bench(t)
  for (let i = 0; i < 5; i++) engine.append(conv, 'alice')
  const inflight = [1, 2, 3, 4].map(seq => ({ packetId: seq, stream: conv, seq }))
  engine.store('bob/phone', { subscriptions: inbox, inflight }, { [conv]: { seq: 0, sent: 4 } })
  const bob = client({ version: 5 })
  await bob.connect('bob', { clean: false, properties: { receiveMaximum: 2, sessionExpiryInterval: 100 } })
  const seen: string[] = []
  for (let i = 0; i < 10 && seen.length < 5; i++) {
    await settled(engine)
    const got = bob.take()
    t.ok(got.length <= 2)
    seen.push(...got.map(name))
    for (const one of got) bob.ack(one)
  }
  t.strictSame(seen, [1, 2, 3, 4].map(seq => `${conv}#${seq}!`).concat(`${conv}#5`))
})

await t.test('what was in flight is read in pages, whatever lies between', async t => {
  const { engine, client } = bench(t)
  for (let i = 0; i < 200; i++) engine.append(conv, 'alice')
  // Sixty in a row, of which one is hidden, and a few far behind them that were acknowledged out of order.
  engine.hidden.add(`${conv} 7`)
  const seqs = [...Array.from({ length: 60 }, (_, i) => i + 1), 150, 200]
  engine.store('bob/phone', { subscriptions: inbox, inflight: seqs.map(seq => ({ packetId: seq, stream: conv, seq })) }, { [conv]: { seq: 0, sent: 200 } })
  const bob = client()
  await bob.connect('bob', { clean: false })
  await settled(engine)
  t.strictSame(bob.take().map(name), seqs.filter(seq => seq !== 7).map(seq => `${conv}#${seq}!`))
  t.ok(engine.reads.length <= 5, `${engine.reads.length} reads`)
})

await t.test('a message in flight that is not there any more is skipped', async t => {
  const { engine, access, client } = bench(t)
  for (let i = 0; i < 2; i++) engine.append(conv, 'alice')
  engine.hidden.add(`${conv} 1`)
  engine.store('bob/phone', { subscriptions: inbox, inflight: [{ packetId: 1, stream: conv, seq: 1 }] }, { [conv]: { seq: 0, sent: 1 } })
  const bob = client()
  await bob.connect('bob', { clean: false })
  await settled(engine)
  const got = bob.take()
  t.strictSame(got.map(name), [`${conv}#2`])
  for (const one of got) bob.ack(one)
  access.pump.cursors.flush()
  t.equal(engine.cursor('bob/phone', conv), 2)
})

await t.test('expiry: what is left of the interval, or nothing at all', async t => {
  const { engine, access, client } = bench(t)
  const bob = client({ version: 5 })
  await bob.connect('bob', { properties: { sessionExpiryInterval: 100 }, clean: false })
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  engine.commit(conv, 'alice', '', Date.now() - 1)
  engine.commit(conv, 'alice', '', Date.now() + 59_500)
  engine.commit(conv, 'alice', '', Date.now() + 0xffffffff * 1000 + 5000)
  await settled(engine)
  const got = bob.take()
  t.strictSame(got.map(name), [`${conv}#2`, `${conv}#3`])
  t.strictSame(got.map(one => one.properties?.messageExpiryInterval), [60, 0xffffffff])
  for (const one of got) bob.ack(one)
  access.pump.cursors.flush()
  t.equal(engine.cursor('bob/phone', conv), 3)
})

await t.test('expiry goes by the time of the server, which a clock that was set back leaves behind', async t => {
  const { engine, client } = bench(t)
  engine.aheadMs = 3_600_000
  const bob = client({ version: 5 })
  await bob.connect('bob', { properties: { sessionExpiryInterval: 100 }, clean: false })
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  const now = (): number => Date.now() + engine.aheadMs
  engine.commit(conv, 'alice', '', now() - 1)
  engine.commit(conv, 'alice', '', now() + 59_500)
  await settled(engine)
  t.strictSame(bob.take().map(one => [name(one), one.properties?.messageExpiryInterval]), [[`${conv}#2`, 60]])
})

await t.test('a packet over the Maximum Packet Size is dropped as if it had been sent', async t => {
  const { engine, access, client } = bench(t)
  const bob = client({ version: 5 })
  await bob.connect('bob', { clean: false, properties: { maximumPacketSize: 200, sessionExpiryInterval: 100 } })
  await bob.subscribe(['im/u/bob/inbox', 'im/u/bob/notice'])
  await settled(engine)
  engine.commit(conv, 'alice', 'x'.repeat(300))
  engine.output([{ kind: 'notice', user: 'bob', payload: Buffer.alloc(300, 'x') }])
  access.pump.cursors.flush()
  t.equal(engine.cursor('bob/phone', conv), 1, 'the cursor goes on')
  engine.commit(conv, 'alice', 'y')
  await settled(engine)
  t.strictSame(bob.seqs(), [`${conv}#2`])
})

await t.test('QoS 0 is live only, and dropped while the client does not read', async t => {
  const { engine, client } = bench(t)
  engine.append(conv, 'alice')
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/#', 0)
  await settled(engine)
  t.strictSame(bob.seqs(), [], 'nothing of before')
  engine.commit(conv, 'alice')
  await settled(engine)
  t.match(bob.take(), [{ qos: 0 }])
  bob.transport.slow = true
  for (let i = 0; i < 40; i++) engine.commit(conv, 'alice', 'x'.repeat(10_000))
  await settled(engine)
  t.ok(bob.transport.unsentBytes < 100_000)
  bob.transport.slow = false
  bob.transport.drain()
  await settled(engine)
  const before = bob.take().length
  t.ok(before < 10)
  engine.commit(conv, 'alice', 'after')
  await settled(engine)
  t.equal(bob.seqs().length, 1)
  t.strictSame(engine.moves, [], 'no cursors')
})

await t.test('QoS 0 streams do not stay in memory', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox', 0)
  await settled(engine)
  for (let i = 0; i < 50; i++) engine.commit(`d:bob:u${i}`, `u${i}`)
  access.pump.cursors.flush()
  t.equal(bob.take().length, 0, 'bytes go out at the end of the turn')
  await settled(engine)
  t.equal(bob.take().length, 50)
  t.equal(access.sessions.connected.get('bob/phone')?.session.streams.size, 0)
})

await t.test('own messages to groups: on the inbox, unless the session reads the group', async t => {
  const { engine, client } = bench(t)
  engine.join('dev', 'alice', 'bob')
  const [inboxOnly, both] = [client(), client()]
  await inboxOnly.connect('alice', { clientId: 'a' })
  await inboxOnly.subscribe('im/u/alice/inbox')
  await both.connect('alice', { clientId: 'b' })
  await both.subscribe(['im/u/alice/inbox', 'im/g/dev'])
  await settled(engine)
  engine.commit('g:dev', 'alice')
  engine.commit('g:dev', 'bob')
  await settled(engine)
  t.match(inboxOnly.take(), [{ topic: 'im/u/alice/inbox' }])
  t.match(both.take(), [{ topic: 'im/g/dev' }, { topic: 'im/g/dev' }])
  await both.unsubscribe('im/g/dev')
  engine.commit('g:dev', 'alice')
  await settled(engine)
  t.match(both.take(), [{ topic: 'im/u/alice/inbox' }])
})

await t.test('a caught-up stream leaves memory and comes back with the next message', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { clean: false })
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  const streams = access.sessions.connected.get('bob/phone')?.session.streams
  for (let seq = 1; seq <= 3; seq++) {
    engine.commit(conv, 'alice')
    await settled(engine)
    const [packet] = bob.take()
    t.equal(packet === undefined ? '' : name(packet), `${conv}#${seq}`)
    t.equal(streams?.size, 1)
    access.pump.cursors.flush()
    t.equal(streams?.size, 1, 'not while it is in flight')
    bob.ack(packet as { messageId: number })
    access.pump.cursors.flush()
    t.equal(streams?.size, 0)
    t.equal(engine.cursor('bob/phone', conv), seq)
  }
})

await t.test('a client that takes its bytes without a drain is not forgotten', async t => {
  const { engine, client } = bench(t)
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  // An answer and a message in one turn: the answer fills what the turn may write, then the kernel takes it all at once.
  bob.publish('im/rpc/messages.history', '70000')
  engine.holdSubmissions = true
  await settled(engine)
  engine.answer()
  engine.commit(conv, 'alice')
  await settled(engine)
  t.strictSame(bob.take().map(one => one.topic), ['im/u/bob/rpc/1', 'im/u/bob/inbox'])
})

await t.test('the log cannot be read', async t => {
  for (const call of ['streams', 'read'] as const) {
    const { engine, access, client } = bench(t)
    engine.append(conv, 'alice')
    engine.append('d:bob:carol', 'carol')
    const bob = client({ version: 5 })
    await bob.connect('bob', { clean: false, properties: { sessionExpiryInterval: 100 } })
    engine.holding.add(call)
    await bob.subscribe('im/u/bob/inbox')
    await settled(engine)
    engine.holding.clear()
    engine.next().fail(new Error('disk'))
    await settled(engine)
    t.ok(bob.closed, `${call}: the connection ends`)
    t.equal(engine.ends.length, 1, 'its session is put away once')
    t.equal(access.sessions.connected.size, 0)
    const again = client({ version: 5 })
    t.equal((await again.connect('bob', { clean: false, properties: { sessionExpiryInterval: 100 } })).sessionPresent, true)
    await settled(engine)
    t.strictSame(again.seqs().sort(), [`${conv}#1`, 'd:bob:carol#1'], 'and nothing is lost')
  }
})

await t.test('notices for a session that does not read are dropped, not piled up', async t => {
  const { access, engine, client } = bench(t)
  const [reader, sender] = [client(), client()]
  await reader.connect('bob', { clientId: 'a' })
  await reader.subscribe('im/u/bob/notice')
  await sender.connect('bob', { clientId: 'b' })
  reader.transport.slow = true
  for (let i = 0; i < 3000; i++) {
    sender.publish('im/to/u/alice', 'refuse', 1, 1 + i)
    if (i % 100 === 99) do await settled(engine); while (access.turns.size > 0)
  }
  await settled(engine)
  t.ok(reader.transport.unsentBytes < 150_000, `${reader.transport.unsentBytes} bytes wait`)
  t.equal(sender.take().length, 3000, 'the sender itself has them all')
})

await t.test('a scan of many streams that are behind keeps few in memory, and misses none', async t => {
  const { engine, access, client } = bench(t, { inflight: 8 })
  const total = 700
  for (let i = 0; i < total; i++) engine.append(`d:bob:u${1000 + i}`, `u${1000 + i}`)
  const bob: MemoryClient = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  const seen = new Set<string>()
  let most = 0
  for (let round = 0; round < 2000 && seen.size < total; round++) {
    await settled(engine)
    most = Math.max(most, access.sessions.connected.get('bob/phone')?.session.streams.size ?? 0)
    const got = bob.take()
    for (const one of got) {
      t.notOk(seen.has(name(one)) && name(one))
      seen.add(name(one))
      bob.ack(one)
    }
    access.pump.cursors.flush()
  }
  t.equal(seen.size, total)
  t.ok(most <= 450, `${most} streams at most`)
})
