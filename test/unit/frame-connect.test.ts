import t from 'tap'
import { ProtocolError, decodeConnect, defaultFrameLimits } from '../../broker/mqtt/index.ts'
import type { ConnectFrame, FrameLimits } from '../../broker/mqtt/index.ts'
import { badTexts, bytes, prefixed, refuses } from '../support/frame-bytes.ts'

type Part = number | string | Buffer

/** Decodes at an offset, so that absolute and relative positions cannot be mixed up. */
function decode (body: Buffer, limits?: FrameLimits): ConnectFrame {
  return decodeConnect(Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, limits)
}
const v31 = (flags: number, ...rest: Part[]): Buffer => bytes('MQIsdp', 3, flags, 0, 60, ...rest)
const v311 = (flags: number, ...rest: Part[]): Buffer => bytes('MQTT', 4, flags, 0, 60, ...rest)
const v5 = (flags: number, properties: Buffer, ...rest: Part[]): Buffer => bytes('MQTT', 5, flags, 0, 60, properties.length, properties, ...rest)
const none = Buffer.alloc(0)

await t.test('a CONNECT of each version', async t => {
  t.same(decode(v311(2, 'c')), { protocolVersion: 4, clean: true, keepAliveSeconds: 60, clientId: 'c' })
  t.same(decode(v31(0, 'c')), { protocolVersion: 3, clean: false, keepAliveSeconds: 60, clientId: 'c' })
  t.same(decode(v5(0, none, '')), { protocolVersion: 5, clean: false, keepAliveSeconds: 60, clientId: '' })
  t.same(decode(v311(0xee, 'c', 'w/t', 'bye', 'ü', 'p')), {
    protocolVersion: 4,
    clean: true,
    keepAliveSeconds: 60,
    clientId: 'c',
    will: { topic: 'w/t', payload: Buffer.from('bye'), qos: 1, retain: true },
    username: 'ü',
    password: Buffer.from('p')
  })
})

await t.test('every property of MQTT 5', async t => {
  const properties = bytes(0x11, 0, 0, 1, 0, 0x21, 0, 9, 0x27, 0, 1, 0, 0, 0x22, 0, 3, 0x19, 1, 0x17, 0, 0x26, 'k', 'v', 0x26, 'k', 'w', 0x15, 'm', 0x16, 'd')
  const will = bytes(0x18, 0, 0, 0, 5, 0x01, 1, 0x02, 0, 0, 0, 6, 0x03, 'text', 0x08, 'r/t', 0x09, 'cd', 0x26, '', '')
  const frame = decode(v5(0x46, properties, 'c', will.length, will, 'w', prefixed(none), 'secret'))
  t.same(frame.properties, {
    sessionExpirySeconds: 256,
    receiveMaximum: 9,
    maximumPacketBytes: 65536,
    topicAliasMaximum: 3,
    requestResponseInformation: true,
    requestProblemInformation: false,
    userProperties: [['k', 'v'], ['k', 'w']],
    authenticationMethod: 'm',
    authenticationData: Buffer.from('d')
  })
  t.same(frame.will?.properties, {
    willDelaySeconds: 5,
    payloadFormat: 1,
    messageExpirySeconds: 6,
    contentType: 'text',
    responseTopic: 'r/t',
    correlationData: Buffer.from('cd'),
    userProperties: [['', '']]
  })
  t.equal(frame.username, undefined, 'a password without a user name is right in MQTT 5')
  t.same(frame.password, Buffer.from('secret'))
})

await t.test('protocol name and level belong together', async t => {
  const start = (name: string, level: number): Buffer => bytes(name, level, 2, 0, 60, 'c')
  refuses(t, 'MQIsdp 4', () => decode(start('MQIsdp', 4)), 0x84, 1)
  refuses(t, 'MQIsdp 5', () => decode(start('MQIsdp', 5)), 0x84, 1)
  refuses(t, 'MQTT 3', () => decode(start('MQTT', 3)), 0x84, 1)
  refuses(t, 'MQTT 0', () => decode(start('MQTT', 0)), 0x84, 1)
  refuses(t, 'MQTT 6', () => decode(start('MQTT', 6)), 0x84, 1)
  refuses(t, 'the bridge bit', () => decode(start('MQTT', 0x84)), 0x84, 1)
  refuses(t, 'mqtt 4', () => decode(start('mqtt', 4)), 0x84)
  refuses(t, 'HTTP', () => decode(Buffer.from('GET / HTTP/1.1\r\n')), 0x81)
  const versionOf = (body: Buffer): number | undefined => {
    try {
      decode(body)
    } catch (error) {
      return (error as ProtocolError).protocolVersion
    }
    return 0
  }
  t.same([versionOf(start('MQTT', 3)), versionOf(start('MQTT', 6)), versionOf(start('AMQP', 4)), versionOf(v31(3, 'c')), versionOf(v311(3, 'c')), versionOf(v5(3, none, 'c'))],
    [4, 5, undefined, 3, 4, 5], 'the version to answer in')
})

await t.test('flags', async t => {
  refuses(t, 'the reserved flag', () => decode(v311(0x03, 'c')), 0x81)
  refuses(t, 'will QoS 3', () => decode(v311(0x1e, 'c', 'w', 'm')), 0x81)
  t.equal(decode(v311(0x16, 'c', 'w', 'm')).will?.qos, 2)
  refuses(t, 'will QoS without will', () => decode(v311(0x0a, 'c')), 0x81)
  refuses(t, 'will retain without will', () => decode(v311(0x22, 'c')), 0x81)
  for (const body of [v31(0x42, 'c', 'p'), v311(0x42, 'c', 'p')]) refuses(t, 'a password without user name', () => decode(body), 0x81)
  t.equal(decode(v311(0xc2, 'c', 'u', 'p')).username, 'u')
})

await t.test('client ids', async t => {
  refuses(t, '3.1.1, clean=0, empty', () => decode(v311(0, '')), 0x85, 2)
  refuses(t, '3.1, clean=0, empty', () => decode(v31(0, '')), 0x85, 2)
  refuses(t, '3.1, clean=1, empty', () => decode(v31(2, '')), 0x85, 2)
  t.equal(decode(v311(2, '')).clientId, '')
  t.equal(decode(v31(2, 'x'.repeat(100))).clientId.length, 100, '3.1: more than 23')
  const longest = 'x'.repeat(defaultFrameLimits.maxClientIdBytes)
  t.equal(decode(v311(0, longest)).clientId, longest)
  refuses(t, 'one byte over the limit', () => decode(v311(0, longest + 'x')), 0x85, 2)
  refuses(t, '64 kB', () => decode(v311(0, 'x'.repeat(65535))), 0x85, 2)
  t.equal(decode(v311(0, 'xxxx'), { ...defaultFrameLimits, maxClientIdBytes: 4 }).clientId, 'xxxx')
  refuses(t, 'over a limit of one\'s own', () => decode(v311(0, 'xxxxx'), { ...defaultFrameLimits, maxClientIdBytes: 4 }), 0x85, 2)
  t.equal(decode(v311(0, '__proto__')).clientId, '__proto__')
})

await t.test('strings', async t => {
  for (const [name, content] of badTexts) {
    const bad = prefixed(content)
    refuses(t, `client id: ${name}`, () => decode(v311(2, bad)), 0x81)
    refuses(t, `will topic: ${name}`, () => decode(v311(6, 'c', bad, 'm')), 0x81)
    refuses(t, `user name: ${name}`, () => decode(v311(0x82, 'c', bad)), 0x81)
    refuses(t, `property: ${name}`, () => decode(v5(2, bytes(0x15, bad), 'c')), 0x81)
    t.same(decode(v311(0xc6, 'c', 'w', bad, 'u', bad)).password, content, `will payload and password may have ${name}`)
  }
  t.equal(decode(v311(2, '\ufeffg🦟')).clientId, '\ufeffg🦟', 'a byte order mark stays')
})

await t.test('will topics', async t => {
  refuses(t, 'empty', () => decode(v311(6, 'c', '', 'm')), 0x90)
  for (const topic of ['#', '+', 'a/#', 'a/+/b', 'a#', '+a']) refuses(t, topic, () => decode(v311(6, 'c', topic, 'm')), 0x90)
  t.equal(decode(v311(6, 'c', '/a//b', 'm')).will?.topic, '/a//b')
})

await t.test('the length of the packet', async t => {
  for (const body of [v31(0xc6, 'c', 'w', 'm', 'u', 'p'), v311(0xc6, 'c', 'w', 'm', 'u', 'p'), v5(0xc6, bytes(0x21, 0, 1), 'c', 0, 'w', 'm', 'u', 'p')]) {
    t.ok(decode(body))
    refuses(t, 'a trailing byte', () => decode(bytes(body, 0)), 0x81)
    for (let length = 0; length < body.length; length++) refuses(t, `cut at ${length}`, () => decode(body.subarray(0, length)), 0x81)
  }
})

await t.test('properties that must not be', async t => {
  const connect = (properties: Buffer): ConnectFrame => decode(v5(2, properties, 'c'))
  refuses(t, 'unknown', () => connect(bytes(0x7f, 0)), 0x81)
  refuses(t, 'of another packet', () => connect(bytes(0x23, 0, 1)), 0x81)
  refuses(t, 'will delay in CONNECT', () => connect(bytes(0x18, 0, 0, 0, 1)), 0x81)
  refuses(t, 'twice', () => connect(bytes(0x21, 0, 1, 0x21, 0, 1)), 0x82)
  refuses(t, 'twice, low identifier', () => connect(bytes(0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1)), 0x82)
  t.ok(connect(bytes(0x17, 1, 0x21, 0, 1, 0x22, 0, 1, 0x11, 0, 0, 0, 1)), 'different ones')
  refuses(t, 'Receive Maximum 0', () => connect(bytes(0x21, 0, 0)), 0x82)
  refuses(t, 'Maximum Packet Size 0', () => connect(bytes(0x27, 0, 0, 0, 0)), 0x82)
  refuses(t, 'a flag of 2', () => connect(bytes(0x19, 2)), 0x82)
  refuses(t, 'data without method', () => connect(bytes(0x16, 'd')), 0x82)
  refuses(t, 'a property cut by the property length', () => connect(bytes(0x11, 0, 0)), 0x81)
  refuses(t, 'a property length beyond the packet', () => decode(bytes('MQTT', 5, 2, 0, 60, 20, 'c')), 0x81)
  refuses(t, 'a property length in too many bytes', () => decode(bytes('MQTT', 5, 2, 0, 60, 0x80, 0, 'c')), 0x81)
  refuses(t, 'a property length of five bytes', () => decode(bytes('MQTT', 5, 2, 0, 60, 0x80, 0x80, 0x80, 0x80, 1, 'c')), 0x81)
  refuses(t, 'payload format 2', () => decode(v5(6, none, 'c', 2, 1, 2, 'w', 'm')), 0x82)
  refuses(t, 'a response topic with wildcards', () => decode(v5(6, none, 'c', 5, 8, '+/', 'w', 'm')), 0x90)
})
