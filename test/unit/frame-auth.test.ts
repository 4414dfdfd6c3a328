import t from 'tap'
import mqttPacket from 'mqtt-packet'
import { authReasons, decodeAuth, encodeAuth } from '../../broker/mqtt/index.ts'
import type { AuthFrame } from '../../broker/mqtt/index.ts'
import { badTexts, bytes, prefixed, refuses } from '../support/frame-bytes.ts'

function auth (body: Buffer): AuthFrame {
  return decodeAuth(Buffer.concat([Buffer.from('xyz'), body, Buffer.from('after')]), 3, 3 + body.length)
}
const having = (...properties: Array<number | string | Buffer>): Buffer => {
  const all = bytes(...properties)
  return bytes(0x18, all.length, all)
}

await t.test('AUTH of a client', async t => {
  t.same(auth(having(0x15, 'm', 0x16, 'data')), { reasonCode: 0x18, authenticationMethod: 'm', authenticationData: Buffer.from('data') })
  t.same(auth(having(0x26, 'k', 'v', 0x15, 'm', 0x1f, 'why', 0x26, 'k', 'v')), { reasonCode: 0x18, authenticationMethod: 'm', authenticationData: Buffer.alloc(0) })
  for (let code = 0; code < 256; code++) {
    const body = bytes(code, 4, 0x15, 'm')
    if (code === authReasons.goOn || code === authReasons.beginAnew) t.equal(auth(body).reasonCode, code)
    else refuses(t, `reason code ${code} [MQTT-3.15.2-1]`, () => auth(body), 0x82)
  }
  refuses(t, 'no body: success, which is the server\'s to say', () => auth(bytes()), 0x82)
  refuses(t, 'no properties', () => auth(bytes(0x18)), 0x82)
  refuses(t, 'no method', () => auth(bytes(0x18, 0)), 0x82)
  refuses(t, 'data without a method', () => auth(having(0x16, 'data')), 0x82)
  refuses(t, 'two methods', () => auth(having(0x15, 'm', 0x15, 'm')), 0x82)
  refuses(t, 'data twice', () => auth(having(0x15, 'm', 0x16, 'd', 0x16, 'd')), 0x82)
  refuses(t, 'another packet\'s property', () => auth(having(0x15, 'm', 0x11, 0, 0, 0, 1)), 0x81)
  refuses(t, 'a property that there is not', () => auth(having(0x15, 'm', 0x7f, 0)), 0x81)
  refuses(t, 'properties that end too early', () => auth(bytes(0x18, 9, 0x15, 'm')), 0x81)
  refuses(t, 'data that ends too early', () => auth(having(0x15, 'm', 0x16, 0, 9, 1)), 0x81)
  refuses(t, 'a trailing byte', () => auth(Buffer.concat([having(0x15, 'm'), bytes(0)])), 0x81)
  for (const [name, content] of badTexts) refuses(t, `a method with ${name}`, () => auth(having(0x15, prefixed(content))), 0x81)
})

await t.test('AUTH of the server', async t => {
  let read: mqttPacket.Packet | undefined
  const reader = mqttPacket.parser({ protocolVersion: 5 })
  reader.on('packet', packet => { read = packet })
  for (const data of [Buffer.alloc(0), Buffer.from('data'), Buffer.alloc(300, 'x')]) {
    reader.parse(encodeAuth(authReasons.goOn, 'SCRAM-SHA-256', data))
    t.match(read, { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: data } })
  }
  t.equal(encodeAuth(authReasons.success, 'm', Buffer.from('d')).toString('hex'), 'f00a0008' + '1500016d' + '16000164')
  t.throws(() => encodeAuth(0, 'm', Buffer.alloc(65_536)), RangeError)
})
