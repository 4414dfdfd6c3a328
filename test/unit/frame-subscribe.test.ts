import t from 'tap'
import { decodeSubscribe, decodeUnsubscribe, defaultFrameLimits } from '../../broker/mqtt/index.ts'
import type { FrameLimits, ProtocolVersion, SubscribeFrame, UnsubscribeFrame } from '../../broker/mqtt/index.ts'
import { badTexts, bytes, prefixed, refuses } from '../support/frame-bytes.ts'

function subscribe (body: Buffer, version: ProtocolVersion = 4, limits?: FrameLimits): SubscribeFrame {
  return decodeSubscribe(Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, version, limits)
}
function unsubscribe (body: Buffer, version: ProtocolVersion = 4, limits?: FrameLimits): UnsubscribeFrame {
  return decodeUnsubscribe(Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length, version, limits)
}

await t.test('SUBSCRIBE', async t => {
  t.same(subscribe(bytes(0, 9, 'a/b', 1, '#', 0)), {
    packetId: 9,
    subscriptions: [{ filter: 'a/b', qos: 1, noLocal: false, rap: false, rh: 0 }, { filter: '#', qos: 0, noLocal: false, rap: false, rh: 0 }]
  })
  t.same(subscribe(bytes(1, 0, 2, 0x0b, 7, 'a', 0x2d, '$share/g/a/+', 0x1a), 5), {
    packetId: 256,
    subscriptions: [{ filter: 'a', qos: 1, noLocal: true, rap: true, rh: 2 }, { filter: '$share/g/a/+', qos: 2, noLocal: false, rap: true, rh: 1 }],
    subscriptionIdentifier: 7
  })
  t.same(subscribe(bytes(0, 1, 9, 0x26, 'k', 'vvv', 'a', 0), 5).userProperties, [['k', 'vvv']])
  t.equal(subscribe(bytes(0, 1, 5, 0x0b, 0xff, 0xff, 0xff, 0x7f, 'a', 0), 5).subscriptionIdentifier, 268_435_455)
})

await t.test('UNSUBSCRIBE', async t => {
  t.same(unsubscribe(bytes(0, 9, 'a/b', '#')), { packetId: 9, filters: ['a/b', '#'] })
  t.same(unsubscribe(bytes(0, 9, 0, '$share/g/a'), 5), { packetId: 9, filters: ['$share/g/a'] })
  t.same(unsubscribe(bytes(0, 9, 7, 0x26, 'k', 'v', 'a'), 5), { packetId: 9, filters: ['a'], userProperties: [['k', 'v']] })
})

await t.test('packet id 0', async t => {
  refuses(t, 'SUBSCRIBE', () => subscribe(bytes(0, 0, 'a', 0)), 0x81)
  refuses(t, 'UNSUBSCRIBE', () => unsubscribe(bytes(0, 0, 'a')), 0x81)
})

await t.test('no filter', async t => {
  refuses(t, 'SUBSCRIBE', () => subscribe(bytes(0, 1)), 0x82)
  refuses(t, 'SUBSCRIBE 5', () => subscribe(bytes(0, 1, 0), 5), 0x82)
  refuses(t, 'UNSUBSCRIBE', () => unsubscribe(bytes(0, 1)), 0x82)
  refuses(t, 'UNSUBSCRIBE 5', () => unsubscribe(bytes(0, 1, 0), 5), 0x82)
})

await t.test('the syntax of filters', async t => {
  for (const filter of ['', 'a/+b', 'a+', '+a', 'a#', '#a', '#/a', 'a/#/b', '##', '++', '+#', '/#/', 'a/b#', '$share/+a/x']) {
    refuses(t, `SUBSCRIBE '${filter}'`, () => subscribe(bytes(0, 1, filter, 0)), 0x8f)
    refuses(t, `UNSUBSCRIBE '${filter}'`, () => unsubscribe(bytes(0, 1, filter)), 0x8f)
    refuses(t, `second filter '${filter}'`, () => subscribe(bytes(0, 1, 'fine', 0, filter, 0)), 0x8f)
  }
  for (const filter of ['#', '+', '/', '//', '/#', '+/#', '+/+', '/+', 'a/+/b', 'a/#', 'a/', '$SYS/#', 'é/+', ' ', '\ufeff/#']) {
    t.equal(subscribe(bytes(0, 1, filter, 0)).subscriptions[0]?.filter, filter)
    t.equal(unsubscribe(bytes(0, 1, filter)).filters[0], filter)
  }
  for (const [name, content] of badTexts) {
    refuses(t, `SUBSCRIBE: ${name}`, () => subscribe(bytes(0, 1, prefixed(content), 0)), 0x81)
    refuses(t, `UNSUBSCRIBE: ${name}`, () => unsubscribe(bytes(0, 1, prefixed(content))), 0x81)
  }
})

await t.test('shared subscriptions', async t => {
  for (const filter of ['$share/', '$share/g', '$share/g/', '$share//a', '$share/+/a', '$share/#']) {
    refuses(t, `SUBSCRIBE '${filter}'`, () => subscribe(bytes(0, 1, 0, filter, 0), 5), 0x8f)
    refuses(t, `UNSUBSCRIBE '${filter}'`, () => unsubscribe(bytes(0, 1, 0, filter), 5), 0x8f)
    t.equal(subscribe(bytes(0, 1, filter, 0), 4).subscriptions[0]?.filter, filter, 'before MQTT 5 a filter as any other')
  }
  for (const filter of ['$share/g/a', '$share/g/#', '$share/g//', '$share', '$shared/g/']) t.ok(subscribe(bytes(0, 1, 0, filter, 0), 5))
  refuses(t, 'No Local on a shared subscription', () => subscribe(bytes(0, 1, 0, '$share/g/a', 4), 5), 0x82)
  t.equal(subscribe(bytes(0, 1, 0, '$share', 4), 5).subscriptions[0]?.noLocal, true)
})

await t.test('subscription options', async t => {
  for (let options = 0; options < 256; options++) {
    const name = `options 0x${options.toString(16)}`
    const before5 = (): unknown => subscribe(bytes(0, 1, 'a', options))
    if (options < 3) t.ok(before5())
    else refuses(t, `${name}, 3.1.1`, before5, 0x81)
    const in5 = (): unknown => subscribe(bytes(0, 1, 0, 'a', options), 5)
    if ((options & 0xc0) !== 0 || (options & 3) === 3) refuses(t, name, in5, 0x81)
    else if ((options & 0x30) === 0x30) refuses(t, name, in5, 0x82)
    else t.ok(in5())
  }
})

await t.test('limits', async t => {
  const limits = { maxClientIdBytes: 1, maxTopicBytes: 5, maxTopicLevels: 3, maxFilters: 2, maxTopicAlias: 0 }
  t.ok(subscribe(bytes(0, 1, 'a/b/c', 0, '+/+/#', 0), 4, limits))
  t.ok(unsubscribe(bytes(0, 1, 'a/b/c', '+/+/#'), 4, limits))
  refuses(t, 'bytes', () => subscribe(bytes(0, 1, 'a/b/cd', 0), 4, limits), 0x8f)
  refuses(t, 'levels', () => subscribe(bytes(0, 1, '+/b//', 0), 4, limits), 0x8f)
  refuses(t, 'filters', () => subscribe(bytes(0, 1, 'a', 0, 'a', 0, 'a', 0), 4, limits), 0x97)
  refuses(t, 'bytes', () => unsubscribe(bytes(0, 1, 'a/b/cd'), 4, limits), 0x8f)
  refuses(t, 'filters', () => unsubscribe(bytes(0, 1, 'a', 'a', 'a'), 4, limits), 0x97)
  const most = Array<Buffer>(defaultFrameLimits.maxFilters).fill(bytes('a', 0))
  t.equal(subscribe(bytes(0, 1, ...most)).subscriptions.length, most.length)
  refuses(t, 'over the default', () => subscribe(bytes(0, 1, ...most, 'a', 0)), 0x97)
})

await t.test('the length of the packet, and properties', async t => {
  const body = bytes(0, 1, 2, 0x0b, 7, 'abc', 0)
  for (let length = 0; length < body.length; length++) refuses(t, `cut at ${length}`, () => subscribe(body.subarray(0, length), 5), length === 5 ? 0x82 : 0x81)
  refuses(t, 'a trailing byte', () => subscribe(bytes(body, 0), 5), 0x81)
  refuses(t, 'UNSUBSCRIBE, a trailing byte', () => unsubscribe(bytes(0, 1, 'a', 0)), 0x81)
  refuses(t, 'subscription identifier 0', () => subscribe(bytes(0, 1, 2, 0x0b, 0, 'a', 0), 5), 0x82)
  refuses(t, 'two subscription identifiers', () => subscribe(bytes(0, 1, 4, 0x0b, 1, 0x0b, 1, 'a', 0), 5), 0x82)
  refuses(t, 'one in UNSUBSCRIBE', () => unsubscribe(bytes(0, 1, 2, 0x0b, 1, 'a'), 5), 0x81)
})
