import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import mqttPacket from 'mqtt-packet'
import type { Packet } from 'mqtt-packet'
import { Framer, ProtocolError, decodeAck, decodeAuth, decodeConnect, decodeDisconnect, decodePublish, decodeSubscribe, decodeUnsubscribe } from '../../broker/mqtt/index.ts'
import type { ProtocolVersion } from '../../broker/mqtt/index.ts'

/** What `decode` must give for a packet that another encoder wrote. */
interface Case { packet: Packet, expected: unknown }

/** Reads a body as the type in its first byte asks. */
function decode (version: ProtocolVersion, first: number, buf: Buffer, start: number, end: number): unknown {
  switch (first >> 4) {
    case 1: return decodeConnect(buf, start, end)
    case 3: return decodePublish(first, buf, start, end, version)
    case 4: case 5: case 6: case 7: return { type: first >> 4, ...decodeAck(first, buf, start, end, version) }
    case 8: return decodeSubscribe(buf, start, end, version)
    case 10: return decodeUnsubscribe(buf, start, end, version)
    case 14: return decodeDisconnect(buf, start, end, version)
    case 15: return decodeAuth(buf, start, end)
    default: return { type: first >> 4, bytes: end - start }
  }
}

/** Feeds the stream cut into chunks of these sizes (over and over), and decodes each packet. */
function read (version: ProtocolVersion, stream: Buffer, sizes: number[]): { packets: unknown[], pendingBytes: number } {
  const packets: unknown[] = []
  const framer = new Framer({ maxPacketBytes: 100_000 })
  for (let at = 0, turn = 0; at < stream.length; turn++) {
    const size = sizes[turn % sizes.length] as number
    framer.feed(stream.subarray(at, at + size), (first, buf, start, end) => packets.push(decode(version, first, buf, start, end)))
    at += size
  }
  return { packets, pendingBytes: framer.pendingBytes }
}

const text = (maxLength: number): fc.Arbitrary<string> => fc.string({ unit: 'grapheme', maxLength }).map(s => s.replaceAll('\0', ''))
const level = text(6).map(s => s.replace(/[/+#]/g, ''))
// mqtt-packet takes no empty topic; neither does MQTT.
const topic = fc.array(level, { minLength: 1, maxLength: 6 }).map(levels => levels.join('/')).filter(s => s !== '' && !s.startsWith('$share'))
const filter = fc.tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, all]) => [...levels, ...(all ? ['#'] : [])].join('/')).filter(s => s !== '' && !s.startsWith('$share'))
const binary = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map(a => Buffer.from(a))
const payload = fc.oneof(binary(40), fc.integer({ min: 100, max: 20_000 }).map(n => Buffer.alloc(n, 97)))
const packetId = fc.integer({ min: 1, max: 65535 })
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
const users = fc.uniqueArray(fc.tuple(text(5).filter(s => s !== '__proto__'), text(5)), { minLength: 1, maxLength: 3, selector: ([key]) => key })

/** Absent keys stay absent. */
const some = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> => fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>

interface Message { payloadFormat: 0 | 1, messageExpirySeconds: number, contentType: string, responseTopic: string, correlationData: Buffer, userProperties: Array<[string, string]> }
const messageModel = { payloadFormat: fc.constantFrom(0 as const, 1 as const), messageExpirySeconds: uint32, contentType: text(8), responseTopic: topic, correlationData: binary(8), userProperties: users }
const message = some<Message>(messageModel)

/** Our names of properties to those of mqtt-packet. */
const names: Record<string, string> = {
  payloadFormat: 'payloadFormatIndicator',
  messageExpirySeconds: 'messageExpiryInterval',
  willDelaySeconds: 'willDelayInterval',
  sessionExpirySeconds: 'sessionExpiryInterval',
  maximumPacketBytes: 'maximumPacketSize'
}
function foreign (properties: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).map(([key, value]) => [names[key] ?? key,
    key === 'payloadFormat' ? value === 1 : key === 'userProperties' ? Object.fromEntries(value as Array<[string, string]>) : value]))
}
/** Object keys that are numbers come first: compare user properties without their order. */
function plain (value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, v: unknown) => key === 'userProperties' && Array.isArray(v) ? (v as string[][]).map(pair => pair.join('\0')).sort() : v))
}
const present = (properties: object): object | undefined => Object.keys(properties).length > 0 ? properties : undefined

const publish = (version: ProtocolVersion): fc.Arbitrary<Case> => fc.record({ topic, qos, again: fc.boolean(), retain: fc.boolean(), packetId, payload, message }).map(r => {
  const dup = r.again && r.qos > 0
  const properties = version === 5 ? present(r.message) : undefined
  return {
    packet: { cmd: 'publish', topic: r.topic, qos: r.qos, dup, retain: r.retain, payload: r.payload, ...(r.qos > 0 ? { messageId: r.packetId } : {}), ...(properties === undefined ? {} : { properties: foreign(properties) }) } as Packet,
    expected: { topic: r.topic, qos: r.qos, dup, retain: r.retain, packetId: r.qos > 0 ? r.packetId : 0, payload: r.payload, properties }
  }
})

const connect = (version: ProtocolVersion): fc.Arbitrary<Case> => fc.record({
  clean: fc.boolean(),
  keepAliveSeconds: fc.integer({ min: 0, max: 65535 }),
  clientId: text(20),
  will: fc.option(fc.record({ topic, payload: binary(10), qos, retain: fc.boolean(), properties: some<Message & { willDelaySeconds: number }>({ ...messageModel, willDelaySeconds: uint32 }) })),
  username: fc.option(text(8)),
  password: fc.option(binary(8)),
  properties: some({ sessionExpirySeconds: uint32, receiveMaximum: packetId, maximumPacketBytes: uint32.map(n => n + 1).filter(n => n <= 0xffffffff), topicAliasMaximum: packetId, requestResponseInformation: fc.boolean(), requestProblemInformation: fc.boolean(), userProperties: users, authenticationMethod: text(5) })
}).map(r => {
  // mqtt-packet writes an empty client id with a clean session only.
  const clientId = version > 3 && r.clean ? r.clientId : r.clientId + 'c'
  // mqtt-packet leaves empty user names and passwords out, and writes no password without a user name.
  const username = r.username === '' ? null : r.username
  const password = username === null || r.password?.length === 0 ? null : r.password
  const properties = version === 5 ? present(r.properties) : undefined
  const willProperties = version === 5 && r.will !== null ? present(r.will.properties) : undefined
  const will = r.will === null ? undefined : { topic: r.will.topic, payload: r.will.payload, qos: r.will.qos, retain: r.will.retain }
  return {
    packet: {
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clean: r.clean,
      keepalive: r.keepAliveSeconds,
      clientId,
      ...(will === undefined ? {} : { will: { ...will, ...(willProperties === undefined ? {} : { properties: foreign(willProperties) }) } }),
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password }),
      ...(properties === undefined ? {} : { properties: foreign(properties) })
    } as Packet,
    expected: {
      protocolVersion: version,
      clean: r.clean,
      keepAliveSeconds: r.keepAliveSeconds,
      clientId,
      ...(properties === undefined ? {} : { properties }),
      ...(will === undefined ? {} : { will: { ...will, ...(willProperties === undefined ? {} : { properties: willProperties }) } }),
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password })
    }
  }
})

const subscribe = (version: ProtocolVersion): fc.Arbitrary<Case> => fc.record({
  packetId,
  subscriptions: fc.array(fc.record({ filter, qos, noLocal: fc.boolean(), rap: fc.boolean(), rh: qos }), { minLength: 1, maxLength: 4 }),
  subscriptionIdentifier: fc.option(fc.integer({ min: 1, max: 268_435_455 }))
}).map(r => {
  const id = version === 5 && r.subscriptionIdentifier !== null ? { subscriptionIdentifier: r.subscriptionIdentifier } : {}
  return {
    packet: { cmd: 'subscribe', messageId: r.packetId, subscriptions: r.subscriptions.map(s => ({ topic: s.filter, qos: s.qos, nl: s.noLocal, rap: s.rap, rh: s.rh })), properties: id } as Packet,
    expected: { packetId: r.packetId, subscriptions: version === 5 ? r.subscriptions : r.subscriptions.map(s => ({ ...s, noLocal: false, rap: false, rh: 0 })), ...id }
  }
})

const unsubscribe: fc.Arbitrary<Case> = fc.record({ packetId, filters: fc.array(filter, { minLength: 1, maxLength: 4 }) }).map(r => ({
  packet: { cmd: 'unsubscribe', messageId: r.packetId, unsubscriptions: r.filters },
  expected: { packetId: r.packetId, filters: r.filters }
}))

const ack = (version: ProtocolVersion): fc.Arbitrary<Case> => fc.record({ cmd: fc.constantFrom('puback' as const, 'pubrec' as const, 'pubrel' as const, 'pubcomp' as const), packetId, fails: fc.boolean(), reasonString: fc.option(text(5)) }).map(r => {
  const reasonCode = version === 5 && r.fails ? (r.cmd === 'puback' || r.cmd === 'pubrec' ? 0x97 : 0x92) : 0
  return {
    packet: { cmd: r.cmd, messageId: r.packetId, reasonCode, ...(version === 5 && r.reasonString !== null ? { properties: { reasonString: r.reasonString } } : {}) } as Packet,
    expected: { type: { puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7 }[r.cmd], packetId: r.packetId, reasonCode }
  }
})

const disconnect = (version: ProtocolVersion): fc.Arbitrary<Case> => some({ sessionExpirySeconds: uint32 }).map(properties => version === 5
  ? { packet: { cmd: 'disconnect', reasonCode: 4, properties: foreign(properties) } as Packet, expected: { reasonCode: 4, ...properties } }
  : { packet: { cmd: 'disconnect' } as Packet, expected: { reasonCode: 0 } })

const auth: fc.Arbitrary<Case> = fc.record({ reasonCode: fc.constantFrom(0x18, 0x19), authenticationMethod: text(8).filter(s => s !== ''), authenticationData: binary(40).filter(b => b.length > 0), more: some({ reasonString: text(5), userProperties: users }) }).map(({ more, ...expected }) => {
  const { reasonCode, ...properties } = expected
  return { packet: { cmd: 'auth', reasonCode, properties: foreign({ ...properties, ...more }) } as Packet, expected }
})

const ping = fc.constant<Case>({ packet: { cmd: 'pingreq' }, expected: { type: 12, bytes: 0 } })

const anyCase = (version: ProtocolVersion): fc.Arbitrary<Case> => fc.oneof(publish(version), connect(version), subscribe(version), unsubscribe, ack(version), disconnect(version), ping, ...(version === 5 ? [auth] : []))
const encode = (version: ProtocolVersion, cases: Case[]): Buffer => Buffer.concat(cases.map(c => mqttPacket.generate(c.packet, { protocolVersion: version })))
const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 8 })

for (const version of [3, 4, 5] as const) {
  await t.test(`version ${version}: what another encoder writes is read, however it is cut`, async () => {
    fc.assert(fc.property(fc.array(anyCase(version), { minLength: 1, maxLength: 4 }), sizes, (cases, cuts) => {
      const { packets, pendingBytes } = read(version, encode(version, cases), cuts)
      assert.deepStrictEqual(plain(packets), plain(cases.map(c => c.expected)))
      assert.equal(pendingBytes, 0)
    }), { numRuns: 300 })
  })

  await t.test(`version ${version}: nothing but a ProtocolError comes of changed packets`, async t => {
    let refused = 0
    let runs = 0
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'insert', 'remove')), { minLength: 1, maxLength: 3 })
    fc.assert(fc.property(anyCase(version), changes, sizes, (one, edits, cuts) => {
      let stream = encode(version, [one])
      for (const [place, value, how] of edits) {
        const at = place % (stream.length + 1)
        const after = stream.subarray(how === 'insert' ? at : at + 1)
        stream = Buffer.concat([stream.subarray(0, at), ...(how === 'remove' ? [] : [Buffer.from([value])]), after])
      }
      runs++
      try {
        read(version, stream, cuts)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        refused++
      }
    }), { numRuns: 1000 })
    t.ok(refused > runs / 10, `${refused} of ${runs} were refused`)
  })

  await t.test(`version ${version}: nothing but a ProtocolError comes of random bytes`, async t => {
    let refused = 0
    // A first byte that passes, so that the bodies are looked at.
    const first = fc.constantFrom(0x10, 0x30, 0x32, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xe0, 0xf0)
    fc.assert(fc.property(first, fc.uint8Array({ maxLength: 100 }), sizes, (type, body, cuts) => {
      try {
        read(version, Buffer.concat([Buffer.from([type, body.length]), body]), cuts)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        refused++
      }
    }), { numRuns: 1000 })
    t.ok(refused > 500)
  })
}
