/** What a WebSocket may carry. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import t from 'tap'
import { WebSocket } from 'ws'
import { generate } from 'mqtt-packet'
import { listening } from '../../broker/gateway/listener/listeners.ts'
import { serveWebSocket } from '../../broker/gateway/listener/websocket.ts'
import { bench } from '../support/memory-client.ts'

await t.test('a text frame ends the connection at once [MQTT-6.0.0-1]', async t => {
  const { access, engine } = bench(t)
  const server = createServer()
  const stop = serveWebSocket(access, server, { path: '/mqtt', origins: [], maxFrameBytes: 10_000, hostAllowed: () => true })
  const { port, close } = await listening(server, { host: '127.0.0.1', port: 0 })
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, 'mqtt')
  t.teardown(async () => {
    socket.terminate()
    stop()
    await close()
  })
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
