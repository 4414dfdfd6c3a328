/** Clauses on WebSocket (section 6 of both versions): where frames end says nothing of where packets do. */
import { once } from 'node:events'
import { generate, parser } from 'mqtt-packet'
import type { Packet } from 'mqtt-packet'
import t from 'tap'
import WebSocket from 'ws'
import { fresh, versions } from '../support/clauses.ts'
import { Mailbox } from '../support/mailbox.ts'
import { connectPacket } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)

for (const version of versions) {
  await t.test(`version ${version}: packets in pieces, and several in one frame`, async t => {
    const socket = new WebSocket(server.wsUrl, ['mqtt'])
    t.teardown(() => { socket.terminate() })
    await once(socket, 'open')
    t.equal(socket.protocol, 'mqtt', '[MQTT-6.0.0-4]')
    const packets = new Mailbox<Packet>('websocket')
    const reader = parser({ protocolVersion: version })
    reader.on('packet', packet => { packets.put(packet) })
    socket.on('message', (data: Buffer, isBinary) => {
      t.ok(isBinary, '[MQTT-6.0.0-1]')
      reader.parse(data)
    })
    const hello = generate(connectPacket({ version, user: 'clauses', clientId: fresh('c') }), { protocolVersion: version })
    for (const byte of hello) socket.send(Buffer.from([byte]))
    await packets.take(packet => packet.cmd === 'connack', 15_000, '[MQTT-6.0.0-2]: connack')
    socket.send(Buffer.from([0xc0, 0, 0xc0, 0, 0xc0]))
    socket.send(Buffer.from([0]))
    for (let i = 0; i < 3; i++) await packets.take(packet => packet.cmd === 'pingresp', 15_000, '[MQTT-6.0.0-2]: pingresp')
  })
}
