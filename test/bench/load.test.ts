import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { Connection } from '../../bench/connection.ts'
import { Publisher, Receiver, faults } from '../../bench/load.ts'
import { publish } from '../../bench/wire.ts'
import { template, writeCounter } from '../../bench/body.ts'

const connack = Buffer.from([0x20, 2, 0, 0])

/** A server that answers CONNECT and hands what follows to `take`. */
async function peer (t: Test, take: (bytes: Buffer, socket: Socket) => void) {
  const sockets: Socket[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.once('data', () => {
      socket.write(connack)
      socket.on('data', bytes => { take(bytes, socket) })
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, sockets }
}

function message (counter: number, stream = 0) {
  const { payload, counterOffsets } = template('text', stream, 60)
  for (const offset of counterOffsets) writeCounter(payload, offset, counter)
  return publish('t', payload, counter)
}

async function receive (t: Test, bytes: Buffer[], stop: (receiver: Receiver) => boolean) {
  const { port, sockets } = await peer(t, () => {})
  const connection = await Connection.open({ port, user: 'u' })
  t.teardown(() => { connection.destroy() })
  const receiver = new Receiver(connection)
  const done = new Promise<void>(resolve => { connection.onRead = () => { if (stop(receiver)) resolve() } })
  for (const part of bytes) sockets[0]?.write(part)
  await done
  return receiver
}

await t.test('a publisher fills its window, counts PUBACKs and goes on in the freed slots', async t => {
  let got = Buffer.alloc(0)
  let wanted = 0
  let arrived = () => {}
  const { port, sockets } = await peer(t, bytes => {
    got = Buffer.concat([got, bytes])
    if (got.length >= wanted) arrived()
  })
  const connection = await Connection.open({ port, user: 'a' })
  t.teardown(() => { connection.destroy() })
  const publisher = new Publisher(connection, { topics: ['t'], stream: 0, body: 'text', payloadBytes: 60, window: 3 })
  const bytesOf = (counters: number[]) => Buffer.concat(counters.map(counter => message(counter)))
  const sent = async (counters: number[]) => {
    wanted = bytesOf(counters).length
    if (got.length < wanted) await new Promise<void>(resolve => { arrived = resolve })
    t.same(got, bytesOf(counters))
  }
  publisher.send(10)
  t.equal(publisher.published, 3)
  await sent([1, 2, 3])
  const acked = new Promise<void>(resolve => { connection.onRead = resolve })
  sockets[0]?.write(Buffer.from([0x40, 2, 0, 1, 0x40, 2, 0, 2]))
  await acked
  t.equal(publisher.room, 2)
  publisher.send(10)
  await sent([1, 2, 3, 4, 5])
  t.match(faults([publisher], []), '3 not acknowledged')
  const misordered = new Promise<void>(resolve => { connection.onRead = resolve })
  sockets[0]?.write(Buffer.from([0x40, 2, 0, 4]))
  await misordered
  t.match(faults([publisher], []), '1 acknowledged out of order')
})

await t.test('topics in turn have counters of their own', async t => {
  const wanted = Buffer.concat([['t1', 1, 5], ['t2', 1, 6], ['t1', 2, 5], ['t2', 2, 6]].map(([topic, counter, stream], index) => {
    const { payload, counterOffsets } = template('text', stream as number, 60)
    for (const offset of counterOffsets) writeCounter(payload, offset, counter as number)
    return publish(topic as string, payload, index + 1)
  }))
  let got = Buffer.alloc(0)
  let arrived = () => {}
  const { port } = await peer(t, bytes => {
    got = Buffer.concat([got, bytes])
    if (got.length >= wanted.length) arrived()
  })
  const connection = await Connection.open({ port, user: 'a' })
  t.teardown(() => { connection.destroy() })
  const all = new Promise<void>(resolve => { arrived = resolve })
  new Publisher(connection, { topics: ['t1', 't2'], stream: 5, body: 'text', payloadBytes: 60, window: 4 }).send(4)
  await all
  t.same(got, wanted)
})

await t.test('packets are read however the stream is cut', async t => {
  const whole = Buffer.concat([1, 2, 3].map(counter => message(counter)))
  const parts = [whole.subarray(0, 1), whole.subarray(1, 70), whole.subarray(70, 71), whole.subarray(71)]
  const receiver = await receive(t, parts, ({ received }) => received === 3)
  t.equal(faults([], [receiver]), undefined)
})

await t.test('a repeated, an overtaken and a lost message make the result void', async t => {
  const repeated = await receive(t, [message(1), message(2), message(2)], r => r.received + r.duplicates === 3)
  t.match(faults([], [repeated]), '1 received twice')
  const overtaken = await receive(t, [message(2), message(1)], r => r.received + r.duplicates === 2)
  t.match(faults([], [overtaken]), '1 missing')
  const lost = await receive(t, [message(1), message(3)], r => r.received === 2)
  t.match(faults([], [lost]), '1 missing')
  const streams = await receive(t, [message(1, 1), message(1, 2), message(2, 1)], r => r.received === 3)
  t.equal(faults([], [streams]), undefined)
})

await t.test('a refused CONNECT rejects', async t => {
  const server = createServer(socket => { socket.once('data', () => { socket.end(Buffer.from([0x20, 2, 0, 5])) }) })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  await t.rejects(Connection.open({ port: (server.address() as AddressInfo).port, user: 'u' }), /CONNACK 5/)
})
