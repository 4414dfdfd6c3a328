import t from 'tap'
import { ackPacketId, decodeAck, decodeDisconnect } from '../../broker/mqtt/index.ts'
import type { AckFrame, DisconnectFrame, ProtocolVersion } from '../../broker/mqtt/index.ts'
import { bytes, refuses } from '../support/frame-bytes.ts'

const firsts = [0x40, 0x50, 0x62, 0x70]

function ack (first: number, body: Buffer, version: ProtocolVersion): AckFrame {
  return decodeAck(first, Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, version)
}
function disconnect (body: Buffer, version: ProtocolVersion): DisconnectFrame {
  return decodeDisconnect(Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, version)
}

await t.test('acknowledgements before MQTT 5 are two bytes', async t => {
  for (const first of firsts) {
    for (const version of [3, 4] as const) {
      t.same(ack(first, bytes(1, 2), version), { packetId: 258, reasonCode: 0 })
      for (const body of [bytes(), bytes(1), bytes(1, 2, 0)]) refuses(t, `${body.length} bytes`, () => ack(first, body, version), 0x81)
      refuses(t, 'packet id 0', () => ack(first, bytes(0, 0), version), 0x81)
    }
  }
  const buf = bytes(9, 9, 1, 2, 9)
  t.equal(ackPacketId(buf, 2, 4), 258)
  for (const [start, end] of [[2, 3], [2, 5], [2, 2]] as const) refuses(t, `${end - start} bytes`, () => ackPacketId(buf, start, end), 0x81)
  refuses(t, 'packet id 0', () => ackPacketId(bytes(0, 0), 0, 2), 0x81)
})

await t.test('acknowledgements of MQTT 5', async t => {
  const known = new Map([[0x40, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]], [0x50, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]], [0x62, [0, 0x92]], [0x70, [0, 0x92]]])
  for (const first of firsts) {
    t.same(ack(first, bytes(1, 2), 5), { packetId: 258, reasonCode: 0 })
    for (let code = 0; code < 256; code++) {
      if (known.get(first)?.includes(code) === true) t.same(ack(first, bytes(0, 1, code), 5), { packetId: 1, reasonCode: code })
      else refuses(t, `0x${first.toString(16)} with reason code ${code}`, () => ack(first, bytes(0, 1, code), 5), 0x82)
    }
    t.equal(ack(first, bytes(0, 1, 0, 0), 5).packetId, 1)
    t.equal(ack(first, bytes(0, 1, 0, 11, 0x1f, 'x', 0x26, 'k', 'v'), 5).packetId, 1)
    refuses(t, 'no bytes', () => ack(first, bytes(), 5), 0x81)
    refuses(t, 'one byte', () => ack(first, bytes(1), 5), 0x81)
    refuses(t, 'packet id 0', () => ack(first, bytes(0, 0, 0), 5), 0x81)
    refuses(t, 'a trailing byte', () => ack(first, bytes(0, 1, 0, 0, 0), 5), 0x81)
    refuses(t, 'a property length beyond the packet', () => ack(first, bytes(0, 1, 0, 4, 0x1f, 0), 5), 0x81)
    refuses(t, 'two reason strings', () => ack(first, bytes(0, 1, 0, 8, 0x1f, 'x', 0x1f, 'x'), 5), 0x82)
    refuses(t, 'another packet\'s property', () => ack(first, bytes(0, 1, 0, 4, 0x03, 'x'), 5), 0x81)
  }
})

await t.test('DISCONNECT', async t => {
  for (const version of [3, 4, 5] as const) t.same(disconnect(bytes(), version), { reasonCode: 0 })
  for (const version of [3, 4] as const) refuses(t, 'a body before MQTT 5', () => disconnect(bytes(0), version), 0x81)
  t.same(disconnect(bytes(4), 5), { reasonCode: 4 })
  t.same(disconnect(bytes(4, 0), 5), { reasonCode: 4 })
  t.same(disconnect(bytes(0, 9, 0x11, 0, 0, 1, 0, 0x1f, 'x'), 5), { reasonCode: 0, sessionExpirySeconds: 256 })
  const clients = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
  for (let code = 0; code < 256; code++) {
    if (clients.includes(code)) t.equal(disconnect(bytes(code), 5).reasonCode, code)
    else refuses(t, `reason code ${code}`, () => disconnect(bytes(code), 5), 0x82)
  }
  refuses(t, 'a server reference', () => disconnect(bytes(0, 4, 0x1c, 'x'), 5), 0x81)
  refuses(t, 'a trailing byte', () => disconnect(bytes(0, 0, 0), 5), 0x81)
  refuses(t, 'a property cut short', () => disconnect(bytes(0, 5, 0x11, 0, 0), 5), 0x81)
})
