/** Packets that are encoded already: what is read off them and written into them is what a codec of another hand sees. */
import fc from 'fast-check'
import { generate, parser, type IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { decodePublish, encodePublish, type UserProperties } from '../../broker/mqtt/index.ts'
import { expiryOf, packetIdOf, topicOf, withAlias, withExpiry } from '../../broker/ordinary/publish-frame.ts'
import { gatherUserProperties, spreadUserProperties } from '../../broker/ordinary/user-properties.ts'

function read (frame: Buffer): IPublishPacket {
  const reader = parser({ protocolVersion: 5 })
  let packet: IPublishPacket | undefined
  reader.on('packet', one => { packet = one as IPublishPacket })
  reader.parse(frame)
  return packet as IPublishPacket
}

/** Without what says how it was encoded. */
function content ({ length: _, properties, ...packet }: IPublishPacket): object {
  const { userProperties, correlationData, ...rest } = properties ?? {}
  return { ...packet, payload: Buffer.from(packet.payload).toString('hex'), properties: { ...rest, users: { ...userProperties }, data: Buffer.from(correlationData ?? []).toString('hex') } }
}

const text = (max: number) => fc.string({ minLength: 1, maxLength: max }).filter(s => !['+', '#', '\0'].some(one => s.includes(one)))
const publish = fc.record({
  topic: text(300),
  payload: fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from(bytes)),
  qos: fc.constantFrom(1 as const, 2 as const),
  retain: fc.boolean(),
  messageId: fc.integer({ min: 1, max: 65_535 }),
  properties: fc.record({
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.integer({ min: 1, max: 0x7fffffff }),
    contentType: text(20),
    responseTopic: text(200),
    correlationData: fc.uint8Array({ minLength: 1, maxLength: 40 }).map(bytes => Buffer.from(bytes)),
    subscriptionIdentifier: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 4 }),
    userProperties: fc.dictionary(text(8).filter(s => s !== '__proto__'), text(8), { minKeys: 1, maxKeys: 3 })
  }, { requiredKeys: [] })
})

await t.test('aliases, expiry, topics and packet ids', async t => {
  fc.assert(fc.property(publish, fc.integer({ min: 1, max: 65_535 }), fc.integer({ min: 1, max: 0xffffffff }), (given, alias, seconds) => {
    const frame = generate({ cmd: 'publish', dup: false, ...given } as unknown as IPublishPacket, { protocolVersion: 5 })
    const packet = read(frame)
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
    if (topicOf(frame) !== given.topic || packetIdOf(frame) !== given.messageId) return false
    for (const told of [true, false]) {
      const aliased = read(withAlias(frame, alias, told))
      if (aliased.properties?.topicAlias !== alias || aliased.topic !== (told ? '' : given.topic)) return false
      delete aliased.properties.topicAlias
      if (!same(content({ ...aliased, topic: given.topic }), content(packet))) return false
    }
    const expiry = expiryOf(frame)
    if (expiry?.seconds !== given.properties.messageExpiryInterval) return false
    if (expiry === undefined) return true
    const other = read(withExpiry(frame, expiry, seconds))
    return other.properties?.messageExpiryInterval === seconds && same(content({ ...other, properties: { ...other.properties, messageExpiryInterval: expiry.seconds } }), content(packet))
  }), { numRuns: 2000 })
  t.pass('2,000 packets')
})

await t.test('at QoS 0 there is no packet id', async t => {
  const frame = generate({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 0, dup: false, retain: true }, { protocolVersion: 5 })
  t.match(read(withAlias(frame, 300, true)), { topic: '', payload: Buffer.from('x'), retain: true, properties: { topicAlias: 300 } })
})

await t.test('user properties keep their order through a codec that makes an object of them', async t => {
  const pair = fc.tuple(fc.constantFrom('a', 'b', '', '1', '0', '__proto__', 'constructor', 'x'.repeat(65_535)), fc.constantFrom('', '1', 'text', 'y'.repeat(65_535)))
  const parts = fc.record({
    topic: text(300),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    payload: fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes)),
    contentType: fc.option(text(20), { nil: undefined }),
    userProperties: fc.array(pair, { maxLength: 12 })
  })
  fc.assert(fc.property(parts, ({ topic, qos, payload, contentType, userProperties }) => {
    const properties = { userProperties: userProperties as UserProperties, ...contentType !== undefined && { contentType }, correlationData: Buffer.from([1]) }
    const frame = encodePublish({ topic, qos, dup: false, retain: true, packetId: qos === 0 ? 0 : 7, payload, properties })
    // As Aedes does: read, and written anew.
    const packet = read(gatherUserProperties(frame))
    const written = spreadUserProperties(generate(packet, { protocolVersion: 5 }))
    const start = written.length - ((): number => { let at = 1; while ((written[at] as number) >= 0x80) at++; return written.length - at - 1 })()
    const got = decodePublish(written[0] as number, written, start, written.length, 5)
    return got.topic === topic && got.payload.equals(payload) && got.properties?.contentType === contentType &&
      JSON.stringify(got.properties?.userProperties ?? []) === JSON.stringify(userProperties)
  }), { numRuns: 500 })
  t.pass('500 packets')
})
