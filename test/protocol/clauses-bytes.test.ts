/** Clauses on what a packet may be: for each a connection of its own, of both versions, that the server must end; MQTT 5 hears the reason. */
import { parser } from 'mqtt-packet'
import type { IDisconnectPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import { Clients, fresh, versions } from '../support/clauses.ts'
import { bytes, prefixed } from '../support/frame-bytes.ts'
import { within } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Version } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
const bad = prefixed(Buffer.from([0x61, 0xff]))
const zero = prefixed(Buffer.from('a\0b'))
const nothing = Buffer.alloc(0)
const malformed = 0x81
const violation = 0x82
const invalid = 0x90

/** A short packet: every body here is below 128 bytes. */
const frame = (first: number, ...parts: Array<number | string | Buffer>): Buffer => {
  const body = bytes(...parts)
  return bytes(first, body.length, body)
}
/** No properties, where the version has any. */
const none = (version: Version): Buffer => version === 5 ? bytes(0) : nothing
/** Properties of MQTT 5. */
const having = (...parts: Array<number | string | Buffer>): Buffer => {
  const body = bytes(...parts)
  return bytes(body.length, body)
}
const head = (version: Version, flags: number): Buffer => bytes('MQTT', version, flags, 0, 60, none(version))

type Make = (version: Version) => Buffer
type Row = [name: string, make: Make, reason: number, only?: Version]

/** The first packet of a connection. */
const first: Row[] = [
  ['a PINGREQ before CONNECT [MQTT-3.1.0-1]', () => bytes(0xc0, 0), violation],
  ['another protocol name [MQTT-3.1.2-1]', v => frame(0x10, 'MQTX', v, 2, 0, 60, none(v), 'c'), 0x84],
  ['CONNECT with flags in its header [MQTT-2.2.2-2], [MQTT-2.1.3-1]', v => frame(0x11, head(v, 2), 'c'), malformed],
  ['the reserved connect flag [MQTT-3.1.2-3]', v => frame(0x10, head(v, 3), 'c'), malformed],
  ['will QoS without a will [MQTT-3.1.2-11], [MQTT-3.1.2-13]', v => frame(0x10, head(v, 0x0a), 'c'), malformed],
  ['will RETAIN without a will [MQTT-3.1.2-15] of 3.1.1, [MQTT-3.1.2-13] of 5', v => frame(0x10, head(v, 0x22), 'c'), malformed],
  ['a will of QoS 3 [MQTT-3.1.2-14] of 3.1.1, [MQTT-3.1.2-12] of 5', v => frame(0x10, head(v, 0x1e), 'c', none(v), 'w', 'x'), malformed],
  ['a will that is announced and not there [MQTT-3.1.2-9]', v => frame(0x10, head(v, 6), 'c'), malformed],
  ['a user name that is not announced [MQTT-3.1.2-18] of 3.1.1, [MQTT-3.1.2-16] of 5', v => frame(0x10, head(v, 2), 'c', 'eve'), malformed],
  ['a user name that is announced and not there [MQTT-3.1.2-19] of 3.1.1, [MQTT-3.1.2-17] of 5', v => frame(0x10, head(v, 0x82), 'c'), malformed],
  ['a password that is not announced [MQTT-3.1.2-20] of 3.1.1, [MQTT-3.1.2-18] of 5', v => frame(0x10, head(v, 0x82), 'c', 'eve', 'pw'), malformed],
  ['a password that is announced and not there [MQTT-3.1.2-21] of 3.1.1, [MQTT-3.1.2-19] of 5', v => frame(0x10, head(v, 0xc2), 'c', 'eve'), malformed],
  ['a password without a user name [MQTT-3.1.2-22]', v => frame(0x10, head(v, 0x42), 'c', 'pw'), malformed, 4],
  ['a CONNECT without a client id [MQTT-3.1.3-3]', v => frame(0x10, head(v, 2)), malformed],
  ['a client id that is no UTF-8 [MQTT-1.5.3-1] of 3.1.1, [MQTT-1.5.4-1] of 5, [MQTT-3.1.3-4]', v => frame(0x10, head(v, 0x82), bad, 'eve'), malformed],
  ['a client id with U+0000 [MQTT-1.5.3-2] of 3.1.1, [MQTT-1.5.4-2] of 5', v => frame(0x10, head(v, 0x82), zero, 'eve'), malformed],
  ['a will topic that is no UTF-8 [MQTT-3.1.3-10] of 3.1.1, [MQTT-3.1.3-11] of 5', v => frame(0x10, head(v, 0x86), 'c', none(v), bad, 'x', 'eve'), malformed],
  ['a user name that is no UTF-8 [MQTT-3.1.3-11] of 3.1.1, [MQTT-3.1.3-12] of 5', v => frame(0x10, head(v, 0x82), 'c', bad), malformed],
  ['the fields of CONNECT in another order [MQTT-3.1.3-1]', v => frame(0x10, head(v, 0x86), 'c', none(v), prefixed(nothing), prefixed(Buffer.from('w')), 'eve'), invalid],
  ['a user property that is no UTF-8 [MQTT-1.5.7-1]', () => frame(0x10, 'MQTT', 5, 2, 0, 60, having(0x26, 'a', bad), 'c'), malformed, 5],
  ['an AUTH before CONNECT [MQTT-3.1.0-1]', () => bytes(0xf0, 0), violation, 5]
]

/** A packet behind a CONNECT that was accepted. */
const later: Row[] = [
  ['a second CONNECT [MQTT-3.1.0-2]', v => frame(0x10, head(v, 0x82), 'c', 'eve'), violation],
  ['PINGREQ with flags [MQTT-2.2.2-2], [MQTT-2.1.3-1]', () => bytes(0xc1, 0), malformed],
  ['a length in more bytes than it needs [MQTT-1.5.5-1]', () => bytes(0xc0, 0x80, 0), malformed, 5],
  ['a PUBLISH with packet id 0 [MQTT-2.3.1-1] of 3.1.1, [MQTT-2.2.1-3] of 5', v => frame(0x32, 't', 0, 0, none(v)), malformed],
  ['a SUBSCRIBE with packet id 0 [MQTT-2.3.1-1] of 3.1.1, [MQTT-2.2.1-3] of 5', v => frame(0x82, 0, 0, none(v), 't', 0), malformed],
  ['DUP at QoS 0 [MQTT-3.3.1-2]', v => frame(0x38, 't', none(v)), malformed],
  ['a PUBLISH of QoS 3 [MQTT-3.3.1-4]', v => frame(0x36, 't', 0, 1, none(v)), malformed],
  ['a PUBLISH without properties [MQTT-2.2.2-1]', () => frame(0x30, 't'), malformed, 5],
  ['a topic that is no UTF-8 [MQTT-3.3.2-1]', v => frame(0x30, bad, none(v)), malformed],
  ['a topic with U+0000 [MQTT-4.7.3-2]', v => frame(0x30, zero, none(v)), malformed],
  ['a topic with a wildcard [MQTT-3.3.2-2], [MQTT-4.7.1-1] of 3.1.1, [MQTT-4.7.0-1] of 5', v => frame(0x30, 'a/+', none(v)), invalid],
  ['an empty topic [MQTT-4.7.3-1]', v => frame(0x30, '', none(v)), invalid],
  ['topic alias 0 [MQTT-3.3.2-8]', () => frame(0x30, 't', having(0x23, 0, 0)), 0x94, 5],
  ['a response topic that is no UTF-8 [MQTT-3.3.2-13]', () => frame(0x30, 't', having(0x08, bad)), malformed, 5],
  ['a response topic with a wildcard [MQTT-3.3.2-14]', () => frame(0x30, 't', having(0x08, 'a/#')), invalid, 5],
  ['a content type that is no UTF-8 [MQTT-3.3.2-19]', () => frame(0x30, 't', having(0x03, bad)), malformed, 5],
  ['a PUBLISH with a subscription identifier [MQTT-3.3.4-6]', () => frame(0x30, 't', having(0x0b, 1)), violation, 5],
  ['PUBACK with a code that it cannot have [MQTT-3.4.2-1]', () => frame(0x40, 0, 1, 0x92), violation, 5],
  ['PUBREC with a code that it cannot have [MQTT-3.5.2-1]', () => frame(0x50, 0, 1, 0x92), violation, 5],
  ['PUBREL with wrong flags [MQTT-3.6.1-1]', () => frame(0x60, 0, 1), malformed],
  ['PUBREL with a code that it cannot have [MQTT-3.6.2-1]', () => frame(0x62, 0, 1, 0x80), violation, 5],
  ['PUBCOMP with a code that it cannot have [MQTT-3.7.2-1]', () => frame(0x70, 0, 1, 0x80), violation, 5],
  ['SUBSCRIBE with wrong flags [MQTT-3.8.1-1]', v => frame(0x80, 0, 1, none(v), 't', 0), malformed],
  ['a filter that is no UTF-8 [MQTT-3.8.3-1]', v => frame(0x82, 0, 1, none(v), bad, 0), malformed],
  ['SUBSCRIBE without a filter [MQTT-3.8.3-3] of 3.1.1, [MQTT-3.8.3-2] of 5', v => frame(0x82, 0, 1, none(v)), violation],
  ['SUBSCRIBE with reserved bits [MQTT-3.8.3-4] of 3.1.1, [MQTT-3.8.3-5] of 5', v => frame(0x82, 0, 1, none(v), 't', 0xc0), malformed],
  ['SUBSCRIBE with QoS 3 [MQTT-3.8.3-4] of 3.1.1', v => frame(0x82, 0, 1, none(v), 't', 3), malformed, 4],
  ['a # that is not the last [MQTT-4.7.1-2] of 3.1.1, [MQTT-4.7.1-1] of 5', v => frame(0x82, 0, 1, none(v), 'a/#/b', 0), 0x8f],
  ['a # that is not alone [MQTT-4.7.1-2] of 3.1.1, [MQTT-4.7.1-1] of 5', v => frame(0x82, 0, 1, none(v), 'a#', 0), 0x8f],
  ['a + that is not alone [MQTT-4.7.1-3] of 3.1.1, [MQTT-4.7.1-2] of 5', v => frame(0x82, 0, 1, none(v), 'a+/b', 0), 0x8f],
  ['an empty filter [MQTT-4.7.3-1]', v => frame(0x82, 0, 1, none(v), '', 0), 0x8f],
  ['UNSUBSCRIBE with wrong flags [MQTT-3.10.1-1]', v => frame(0xa0, 0, 1, none(v), 't'), malformed],
  ['UNSUBSCRIBE of what is no UTF-8 [MQTT-3.10.3-1]', v => frame(0xa2, 0, 1, none(v), bad), malformed],
  ['UNSUBSCRIBE without a filter [MQTT-3.10.3-2]', v => frame(0xa2, 0, 1, none(v)), violation],
  ['DISCONNECT with flags [MQTT-3.14.1-1]', () => bytes(0xe1, 0), malformed],
  ['DISCONNECT with a code that it cannot have [MQTT-3.14.2-1]', () => frame(0xe0, 0x03), violation, 5],
  ['AUTH with flags [MQTT-3.15.1-1]', () => bytes(0xf1, 0), malformed, 5],
  ['AUTH with a code that it cannot have [MQTT-3.15.2-1]', () => frame(0xf0, 0x01), violation, 5],
  ['AUTH of a client that named no method [MQTT-4.12.0-7]', () => frame(0xf0, 0x18, having(0x15, 'SCRAM-SHA-256')), violation, 5]
]

/** Everything that came before the close. */
function readAll (chunks: Buffer[], version: Version): Packet[] {
  const packets: Packet[] = []
  const reader = parser({ protocolVersion: version })
  reader.on('packet', packet => { packets.push(packet) })
  reader.parse(Buffer.concat(chunks))
  return packets
}

for (const version of versions) {
  for (const [name, make, reason] of first.filter(row => row[3] === undefined || row[3] === version)) {
    await t.test(`first, version ${version}: ${name}`, async t => {
      const client = await RawClient.open(t, server.mqttPort, { version })
      const chunks: Buffer[] = []
      client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
      client.write(make(version))
      await within(client.closed, 10_000, '[MQTT-3.1.4-1]: the close')
      const packets = readAll(chunks, version)
      t.ok(packets.length <= 1, 'at most one answer')
      if (version === 4) t.strictSame(packets, [], 'no answer [MQTT-3.1.4-1], [MQTT-3.2.2-6] of 3.1.1')
      for (const packet of packets) t.match(packet, { cmd: 'connack', reasonCode: reason, sessionPresent: false }, '[MQTT-3.2.2-6] and [MQTT-3.14.0-1] of 5')
    })
  }
  for (const [name, make, reason] of later.filter(row => row[3] === undefined || row[3] === version)) {
    await t.test(`later, version ${version}: ${name}`, async t => {
      const client = await new Clients(server.mqttPort, version).connect(t, { clientId: fresh('bytes') })
      client.write(make(version))
      await within(client.closed, 10_000, '[MQTT-4.8.0-1] of 3.1.1, [MQTT-4.13.1-1] of 5: the close')
      const said = client.packets.waiting as IDisconnectPacket[]
      if (version === 4) t.strictSame(said, [])
      else t.match(said, [{ cmd: 'disconnect', reasonCode: reason, properties: undefined }], '[MQTT-4.13.2-1], [MQTT-3.14.2-2] of 5')
    })
  }
}
