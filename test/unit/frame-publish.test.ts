import t from 'tap'
import { decodePublish, defaultFrameLimits, encodePublishProperties, noProperties, publishHeader, publishSize, writeAck, writePublish } from '../../broker/mqtt/index.ts'
import type { FrameLimits, ProtocolVersion, PublishFrame } from '../../broker/mqtt/index.ts'
import { badTexts, bytes, prefixed, refuses } from '../support/frame-bytes.ts'

function decode (first: number, body: Buffer, version: ProtocolVersion = 4, limits?: FrameLimits): PublishFrame {
  return decodePublish(first, Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, version, limits)
}
const rest = Buffer.from('rest')

await t.test('a PUBLISH', async t => {
  t.same(decode(0x30, bytes('a/b', rest)), { topic: 'a/b', qos: 0, dup: false, retain: false, packetId: 0, payload: rest, properties: undefined })
  t.same(decode(0x3b, bytes('a/b', 1, 2, rest)), { topic: 'a/b', qos: 1, dup: true, retain: true, packetId: 258, payload: rest, properties: undefined })
  t.same(decode(0x34, bytes('ü🦟', 0, 1), 3), { topic: 'ü🦟', qos: 2, dup: false, retain: false, packetId: 1, payload: Buffer.alloc(0), properties: undefined })
  t.same(decode(0x32, bytes('a', 0, 1, 0, rest), 5), { topic: 'a', qos: 1, dup: false, retain: false, packetId: 1, payload: rest, properties: undefined })
})

await t.test('the payload is a view of the frame', async t => {
  const body = bytes('a', rest)
  t.equal(decodePublish(0x30, body, 0, body.length, 4).payload.buffer, body.buffer)
})

await t.test('the properties of MQTT 5', async t => {
  const properties = bytes(0x01, 1, 0x02, 0, 0, 0, 9, 0x03, 'text/plain', 0x08, 'r', 0x09, prefixed(Buffer.from([0, 255])), 0x26, 'k', 'v', 0x26, 'k', 'v')
  const frame = decode(0x30, bytes('a', properties.length, properties, rest), 5)
  t.same(frame.properties, {
    payloadFormat: 1,
    messageExpirySeconds: 9,
    contentType: 'text/plain',
    responseTopic: 'r',
    correlationData: Buffer.from([0, 255]),
    userProperties: [['k', 'v'], ['k', 'v']]
  })
  t.same(frame.payload, rest)
})

await t.test('packet id and DUP', async t => {
  refuses(t, 'packet id 0 at QoS 1', () => decode(0x32, bytes('a', 0, 0, rest)), 0x81)
  refuses(t, 'packet id 0 at QoS 2', () => decode(0x34, bytes('a', 0, 0, rest)), 0x81)
  refuses(t, 'DUP at QoS 0', () => decode(0x38, bytes('a', rest)), 0x81)
  t.equal(decode(0x3a, bytes('a', 255, 255)).packetId, 65535)
})

await t.test('topics', async t => {
  for (const topic of ['#', '+', 'a/#', 'a/+', '+/a', 'a/+/b', 'a#', 'a+b']) refuses(t, topic, () => decode(0x30, bytes(topic, rest)), 0x90)
  refuses(t, 'empty', () => decode(0x30, bytes('', rest)), 0x90)
  refuses(t, 'empty, MQTT 5 without alias', () => decode(0x30, bytes('', 0, rest), 5), 0x90)
  refuses(t, 'empty, MQTT 5 with alias', () => decode(0x30, bytes('', 3, 0x23, 0, 1, rest), 5), 0x94)
  refuses(t, 'alias set', () => decode(0x30, bytes('a', 3, 0x23, 0, 1, rest), 5), 0x94)
  refuses(t, 'alias 0', () => decode(0x30, bytes('a', 3, 0x23, 0, 0, rest), 5), 0x94)
  for (const [name, content] of badTexts) refuses(t, name, () => decode(0x30, bytes(prefixed(content), rest)), 0x81)
  for (const topic of ['/', '//', ' ', '$SYS/x', 'a/b/', '__proto__', '../..', '\ufeffa', 'é/ß', '\u{10ffff}']) {
    t.equal(decode(0x30, bytes(topic, rest)).topic, topic)
  }
})

await t.test('limits of topics', async t => {
  const limits = { ...defaultFrameLimits, maxTopicBytes: 5, maxTopicLevels: 3 }
  t.equal(decode(0x30, bytes('a/b/c'), 4, limits).topic, 'a/b/c')
  refuses(t, 'one byte more', () => decode(0x30, bytes('a/b/cd'), 4, limits), 0x90)
  refuses(t, 'one level more', () => decode(0x30, bytes('a/b//'), 4, limits), 0x90)
  const { maxTopicBytes, maxTopicLevels } = defaultFrameLimits
  t.equal(decode(0x30, bytes('x'.repeat(maxTopicBytes))).topic.length, maxTopicBytes)
  refuses(t, 'over the default', () => decode(0x30, bytes('x'.repeat(maxTopicBytes + 1))), 0x90)
  t.equal(decode(0x30, bytes('/'.repeat(maxTopicLevels - 1))).topic.length, maxTopicLevels - 1)
  refuses(t, 'deeper than the default', () => decode(0x30, bytes('/'.repeat(maxTopicLevels))), 0x90)
  refuses(t, '64 kB', () => decode(0x30, bytes('x'.repeat(65535))), 0x90)
})

await t.test('properties that must not be', async t => {
  const withProperties = (properties: Buffer): PublishFrame => decode(0x30, bytes('a', properties.length, properties, rest), 5)
  refuses(t, 'payload format 2', () => withProperties(bytes(0x01, 2)), 0x82)
  t.equal(withProperties(bytes(0x01, 0)).properties?.payloadFormat, 0)
  refuses(t, 'a subscription identifier', () => withProperties(bytes(0x0b, 1)), 0x82)
  for (const topic of ['+', 'a/#']) refuses(t, `response topic ${topic}`, () => withProperties(bytes(0x08, topic)), 0x90)
  refuses(t, 'an empty response topic', () => withProperties(bytes(0x08, '')), 0x90)
  refuses(t, 'twice', () => withProperties(bytes(0x03, 'a', 0x03, 'a')), 0x82)
  refuses(t, 'unknown', () => withProperties(bytes(0x04, 1)), 0x81)
  refuses(t, 'of CONNECT', () => withProperties(bytes(0x21, 0, 1)), 0x81)
  for (const [name, content] of badTexts) refuses(t, `content type: ${name}`, () => withProperties(bytes(0x03, prefixed(content))), 0x81)
  t.same(decode(0x30, bytes('a', 0x26, 0, 1), 4).payload, Buffer.from([0x26, 0, 1]), 'before MQTT 5 they are payload')
})

await t.test('the length of the packet', async t => {
  const body = bytes('abc', 0, 7, 3, 0x03, '')
  t.ok(decode(0x32, body, 5))
  for (let length = 0; length < body.length; length++) refuses(t, `cut at ${length}`, () => decode(0x32, body.subarray(0, length), 5), 0x81)
  const before5 = bytes('abc', 0, 7)
  t.equal(decode(0x32, before5).packetId, 7)
  for (let length = 0; length < before5.length; length++) refuses(t, `3.1.1, cut at ${length}`, () => decode(0x32, before5.subarray(0, length)), 0x81)
  const properties = bytes('a', 4, 0x03, 'x')
  t.equal(decodePublish(0x30, properties, 0, properties.length, 5).properties?.contentType, 'x')
  refuses(t, 'properties that go on behind the packet', () => decodePublish(0x30, properties, 0, properties.length - 1, 5), 0x81)
  refuses(t, 'a topic longer than the packet', () => decode(0x30, Buffer.from([0xff, 0xff, 97])), 0x81)
})

await t.test('what is written is what is read', async t => {
  const topic = Buffer.from('im/u/bob/inbox')
  const properties = encodePublishProperties({ contentType: 'x', messageExpirySeconds: 7, userProperties: [['a', 'b']] })
  for (const payload of [Buffer.alloc(0), Buffer.alloc(100, 1), Buffer.alloc(20_000, 2)]) {
    for (const [version, props] of [[4, undefined], [5, noProperties], [5, properties]] as const) {
      for (const qos of [0, 1, 2] as const) {
        const size = publishSize(topic, qos, payload.length, props)
        const target = Buffer.alloc(size + 5, 0xee)
        const header = publishHeader(qos, qos > 0, true)
        t.equal(writePublish(target, 2, header, qos === 0 ? 0 : 4321, topic, props, payload), 2 + size)
        t.same([target[0], target[1], target[size + 2]], [0xee, 0xee, 0xee], 'nothing around it is touched')
        const start = 2 + size - payload.length - (props?.length ?? 0) - (qos === 0 ? 0 : 2) - topic.length - 2
        const frame = decodePublish(target[2] as number, target, start, 2 + size, version)
        t.match(frame, { topic: 'im/u/bob/inbox', qos, dup: qos > 0, retain: true, packetId: qos === 0 ? 0 : 4321 })
        t.ok(frame.payload.equals(payload))
        t.equal(frame.properties?.messageExpirySeconds, props === properties ? 7 : undefined)
      }
    }
  }
})

await t.test('a writer refuses what it cannot write', async t => {
  const topic = Buffer.from('a')
  const target = Buffer.alloc(publishSize(topic, 1, 3, undefined), 0xee)
  const header = publishHeader(1, false, false)
  for (const packetId of [0, 65536, -1, NaN]) t.throws(() => writePublish(target, 0, header, packetId, topic, undefined, Buffer.alloc(3)), RangeError, `packet id ${packetId}`)
  t.throws(() => writePublish(target, 0, header, 1, topic, undefined, Buffer.alloc(4)), RangeError, 'no room')
  t.throws(() => writePublish(target, 1, header, 1, topic, undefined, Buffer.alloc(3)), RangeError, 'no room')
  t.ok(target.equals(Buffer.alloc(target.length, 0xee)), 'nothing was written')
  t.equal(writePublish(target, 0, header, 1, topic, undefined, Buffer.alloc(3)), target.length)
  t.throws(() => encodePublishProperties({ contentType: 'x'.repeat(65536) }), RangeError)
})

await t.test('a plain acknowledgement', async t => {
  const target = Buffer.alloc(8, 0xee)
  t.equal(writeAck(target, 2, 4, 0x1234), 6)
  t.equal(target.toString('hex'), 'eeee40021234eeee')
  writeAck(target, 0, 6, 0x0102)
  t.equal(target.toString('hex', 0, 4), '62020102', 'PUBREL has its flags')
})
