import t from 'tap'
import mqttPacket from 'mqtt-packet'
import type { Packet } from 'mqtt-packet'
import {
  decodeSubscribe, encodeAck, encodeConnackRefusal, encodeDisconnect, encodePublishProperties, encodeSuback, encodeSubscribe, encodeUnsuback,
  noProperties, packetTypes, pingresp, publishHeader, publishSize, writePublish
} from '../../broker/mqtt/index.ts'
import type { ProtocolVersion, PublishProperties, Qos, Subscription } from '../../broker/mqtt/index.ts'

/** Reads one packet with a parser that is not ours. */
function parse (version: ProtocolVersion, packet: Buffer): Record<string, unknown> {
  const parser = mqttPacket.parser({ protocolVersion: version })
  const packets: Packet[] = []
  parser.on('packet', p => packets.push(p))
  parser.on('error', error => { throw error })
  t.equal(parser.parse(packet), 0, 'no byte is left')
  t.equal(packets.length, 1)
  // Its userProperties objects have no prototype, which `t.match` does not mind.
  return packets[0] as unknown as Record<string, unknown>
}

await t.test('CONNACK', async t => {
  for (const version of [3, 4] as const) t.match(parse(version, encodeConnackRefusal(version, 2)), { cmd: 'connack', returnCode: 2, sessionPresent: false })
  t.match(parse(5, encodeConnackRefusal(5, 0x87)), { cmd: 'connack', reasonCode: 0x87, sessionPresent: false })
  t.match(parse(5, encodeConnackRefusal(5, 0x9c, 'other:1883')), { cmd: 'connack', reasonCode: 0x9c, properties: { serverReference: 'other:1883' } })
  t.equal(encodeConnackRefusal(4, 3, 'other:1883').toString('hex'), '20020003')
  t.equal(encodeConnackRefusal(4, 5).toString('hex'), '20020005')
  t.equal(encodeConnackRefusal(5, 0x84).toString('hex'), '2003008400')
})

await t.test('SUBACK and UNSUBACK', async t => {
  t.match(parse(4, encodeSuback(4, 258, [0, 1, 2, 0x80])), { cmd: 'suback', messageId: 258, granted: [0, 1, 2, 0x80] })
  t.match(parse(5, encodeSuback(5, 258, [0, 0x87])), { cmd: 'suback', messageId: 258, granted: [0, 0x87] })
  t.match(parse(4, encodeUnsuback(4, 65535, [0, 0])), { cmd: 'unsuback', messageId: 65535 })
  t.equal(encodeUnsuback(4, 1, [0, 0]).length, 4, 'before MQTT 5 without codes')
  t.match(parse(5, encodeUnsuback(5, 1, [0, 0x11])), { cmd: 'unsuback', messageId: 1, granted: [0, 0x11] })
  const many = Array<number>(1000).fill(1)
  t.match(parse(5, encodeSuback(5, 1, many)), { granted: many }, 'a length of two bytes')
})

await t.test('acknowledgements', async t => {
  const types = [['puback', packetTypes.puback, 0x87], ['pubrec', packetTypes.pubrec, 0x97], ['pubrel', packetTypes.pubrel, 0x92], ['pubcomp', packetTypes.pubcomp, 0x92]] as const
  for (const [cmd, type, code] of types) {
    for (const version of [3, 4] as const) {
      t.match(parse(version, encodeAck(type, version, 300)), { cmd, messageId: 300 })
      t.equal(encodeAck(type, version, 300, code, 'no', [['a', 'b']]).length, 4, 'before MQTT 5 without a reason')
    }
    t.equal(encodeAck(type, 5, 1).length, 4)
    t.match(parse(5, encodeAck(type, 5, 1)), { cmd, messageId: 1, reasonCode: 0 })
    t.equal(encodeAck(type, 5, 1, code).length, 5)
    t.match(parse(5, encodeAck(type, 5, 1, code)), { cmd, messageId: 1, reasonCode: code })
    t.match(parse(5, encodeAck(type, 5, 1, code, 'why ü', [['id', 'x'], ['seq', '7']])), {
      cmd, messageId: 1, reasonCode: code, properties: { reasonString: 'why ü', userProperties: { id: 'x', seq: '7' } }
    })
    t.match(parse(5, encodeAck(type, 5, 1, 0, undefined, [['id', 'x'.repeat(200)]])), { cmd, reasonCode: 0, properties: { userProperties: { id: 'x'.repeat(200) } } })
    t.equal(encodeAck(type, 5, 1, 0, undefined, []).length, 4)
  }
})

await t.test('PINGRESP and DISCONNECT', async t => {
  t.match(parse(4, pingresp), { cmd: 'pingresp' })
  // Properties may be left out when there are none, but rumqttc cannot read that.
  t.same(encodeDisconnect(0x8e), Buffer.from([0xe0, 2, 0x8e, 0]))
  t.match(parse(5, encodeDisconnect(0x8e)), { cmd: 'disconnect', reasonCode: 0x8e })
  t.match(parse(5, encodeDisconnect(0x9d, 'other:1883')), { cmd: 'disconnect', reasonCode: 0x9d, properties: { serverReference: 'other:1883' } })
})

await t.test('SUBSCRIBE', async t => {
  const subscriptions: Subscription[] = [{ filter: 'a/+', qos: 1, noLocal: true, rap: true, rh: 2 }, { filter: 'ü/#', qos: 2, noLocal: false, rap: true, rh: 0 }]
  const packet = encodeSubscribe(5, 7, subscriptions, 300)
  t.match(parse(5, packet), {
    cmd: 'subscribe',
    messageId: 7,
    subscriptions: [{ topic: 'a/+', qos: 1, nl: true, rap: true, rh: 2 }, { topic: 'ü/#', qos: 2, nl: false, rap: true, rh: 0 }],
    properties: { subscriptionIdentifier: 300 }
  })
  t.same(decodeSubscribe(packet, 2, packet.length, 5), { packetId: 7, subscriptions, subscriptionIdentifier: 300 })
  const before5 = encodeSubscribe(4, 7, subscriptions)
  t.match(parse(4, before5), { messageId: 7, subscriptions: [{ topic: 'a/+', qos: 1 }, { topic: 'ü/#', qos: 2 }] })
  t.same(decodeSubscribe(before5, 2, before5.length, 4).subscriptions.map(s => [s.filter, s.qos, s.noLocal, s.rap, s.rh]), [['a/+', 1, false, false, 0], ['ü/#', 2, false, false, 0]])
})

await t.test('PUBLISH', async t => {
  const properties: PublishProperties = { payloadFormat: 1, messageExpirySeconds: 60, contentType: 'text/plain', responseTopic: 'r', correlationData: Buffer.from([0, 1]), userProperties: [['k', 'v']] }
  const topic = Buffer.from('im/u/böb/inbox')
  for (const payload of [Buffer.alloc(0), Buffer.from('hi'), Buffer.alloc(70_000, 7)]) {
    for (const qos of [0, 1, 2] as Qos[]) {
      for (const [version, props] of [[3, undefined], [4, undefined], [5, noProperties], [5, encodePublishProperties({})], [5, encodePublishProperties(properties)]] as const) {
        const packet = Buffer.alloc(publishSize(topic, qos, payload.length, props))
        writePublish(packet, 0, publishHeader(qos, qos === 1, qos === 2), 77, topic, props, payload)
        const parsed = parse(version, packet)
        t.match(parsed, { cmd: 'publish', topic: 'im/u/böb/inbox', qos, dup: qos === 1, retain: qos === 2 })
        t.equal(parsed['messageId'], qos === 0 ? undefined : 77)
        t.ok(payload.equals(parsed['payload'] as Buffer))
        if (props !== undefined && props.length > 1) {
          t.match(parsed['properties'], { payloadFormatIndicator: true, messageExpiryInterval: 60, contentType: 'text/plain', responseTopic: 'r', correlationData: Buffer.from([0, 1]), userProperties: { k: 'v' } })
        }
      }
    }
  }
})
