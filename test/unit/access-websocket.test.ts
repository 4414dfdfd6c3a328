/** What a WebSocket may carry. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { generate } from 'mqtt-packet'
import { listening } from '../../broker/gateway/listener/listeners.ts'
import { serveWebSocket } from '../../broker/gateway/listener/websocket.ts'
import type { Acceptor, Transport } from '../../broker/gateway/listener/transport.ts'
import { bench } from '../support/memory-client.ts'

/** A client of a WebSocket server in front of `acceptor`; it is not open yet. */
async function connected (t: Test, acceptor: Acceptor): Promise<WebSocket> {
  const server = createServer()
  const stop = serveWebSocket(acceptor, server, { path: '/mqtt', origins: [], maxFrameBytes: 10_000, hostAllowed: () => true })
  const { port, close } = await listening(server, { host: '127.0.0.1', port: 0 })
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, 'mqtt')
  t.teardown(async () => {
    socket.terminate()
    stop()
    await close()
  })
  return socket
}

await t.test('a text frame ends the connection at once [MQTT-6.0.0-1]', async t => {
  const { access, engine } = bench(t)
  const socket = await connected(t, access)
  await once(socket, 'open')
  t.equal(access.sessions.connections.size, 1)
  const connect = generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'c', clean: true, keepalive: 0, username: 'bob' })
  socket.send('hello')
  socket.send(connect)
  const [code] = await once(socket, 'close') as [number]
  t.equal(code, 1003)
  t.equal(access.sessions.connections.size, 0)
  t.equal(engine.live.size, 0, 'what came behind it was not read')
})

await t.test('each write is one frame, whatever its length (RFC 6455, section 5.2)', async t => {
  const lengths = [1, 2, 124, 125, 126, 127, 128, 16_384, 65_535, 65_536, 65_537, 300_000]
  const payloads = lengths.map(length => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + length) % 256)))
  const { access } = bench(t)
  const accept = (transport: Transport): void => {
    const { headroom } = transport
    transport.attach({
      onData () {
        for (const payload of payloads) transport.write(Buffer.concat([Buffer.alloc(headroom, 0xff), payload]))
        transport.end()
      },
      onDrain () {},
      onClose () {}
    })
  }
  const socket = await connected(t, { sockets: access.sockets, limits: access.limits, log: access.log, accept })
  const got: Buffer[] = []
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    t.ok(isBinary)
    got.push(data)
  })
  await once(socket, 'open')
  socket.send(Buffer.from([0]))
  const [code] = await once(socket, 'close') as [number]
  t.equal(code, 1005, 'ended in order')
  t.same(got.map(data => data.length), lengths)
  t.ok(got.every((data, i) => data.equals(payloads[i] as Buffer)), 'byte for byte')
})
