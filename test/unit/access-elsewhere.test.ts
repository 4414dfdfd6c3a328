/** Another server that clients are told of: Server Reference (MQTT 5.0, sections 3.2.2.3.16 and 4.11). */
import t from 'tap'
import { elsewhere, type Elsewhere } from '../../broker/gateway/connection/elsewhere.ts'
import { bench, settled, type Bench } from '../support/memory-client.ts'

const address = 'other.example.com:1883'
const withElsewhere = (tt: Parameters<typeof bench>[0], to: Elsewhere | undefined): Bench =>
  bench(tt, {}, undefined, [], undefined, false, undefined, undefined, { elsewhere: to })

await t.test('who connects is sent there, before anybody looks at a password', async t => {
  for (const [permanent, reasonCode] of [[true, 0x9d], [false, 0x9c]] as const) {
    const { engine, access, client } = withElsewhere(t, elsewhere({ address, permanent, redirect: true }))
    const [five, small, method, old] = [client({ version: 5 }), client({ version: 5 }), client({ version: 5 }), client()]
    engine.holding.add('authenticate')
    five.hello('bob')
    small.hello('bob', { properties: { maximumPacketSize: 20 } })
    method.hello('bob', { properties: { authenticationMethod: 'OTHER' } })
    old.hello('bob')
    await settled(engine)
    t.match(five.packets.waiting, [{ cmd: 'connack', reasonCode, properties: { serverReference: address } }])
    t.match(small.packets.waiting, [{ cmd: 'connack', reasonCode, properties: undefined }], 'no room for the address')
    t.match(method.packets.waiting, [{ cmd: 'connack', reasonCode, properties: { serverReference: address } }])
    t.match(old.packets.waiting, [{ cmd: 'connack', returnCode: 3 }])
    t.strictSame([five, small, method, old].map(one => one.closed), [true, true, true, true])
    t.strictSame([engine.held.length, access.sessions.connections.size], [0, 0])
  }
})

await t.test('who is connected is told when the server stops', async t => {
  for (const [permanent, reasonCode] of [[true, 0x9d], [false, 0x9c]] as const) {
    const { engine, access, client } = withElsewhere(t, elsewhere({ address, permanent, redirect: false }))
    const [five, small, old] = [client({ version: 5 }), client({ version: 5 }), client()]
    await five.connect('bob', { clientId: 'a' })
    await small.connect('bob', { clientId: 'b', properties: { maximumPacketSize: 25 } })
    await old.connect('bob', { clientId: 'c' })
    await access.close()
    await settled(engine)
    t.match(five.packets.waiting, [{ cmd: 'disconnect', reasonCode, properties: { serverReference: address } }])
    t.match(small.packets.waiting, [{ cmd: 'disconnect', reasonCode, properties: undefined }], 'no room for the address')
    t.strictSame(old.packets.waiting, [])
    t.strictSame([five, small, old].map(one => one.closed), [true, true, true])
  }
})

await t.test('without an address nobody is told of one', async t => {
  t.equal(elsewhere({ address: '', permanent: true, redirect: false }), undefined)
  const { engine, access, client } = withElsewhere(t, undefined)
  const five = client({ version: 5 })
  await five.connect('bob')
  await access.close()
  await settled(engine)
  t.match(five.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8b, properties: undefined }])
})
