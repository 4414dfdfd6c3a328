/** SCRAM-SHA-256 over a socket: a client that was written from the RFC, and the mqtt package with it. */
import { connect as connectMqtt } from 'mqtt'
import type { IAuthPacket, IConnackPacket, IConnectPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { method, ScramClient } from '../support/scram.ts'
import { cli, startServer } from '../support/server.ts'

const server = await startServer(t, { config: { auth: { mode: 'password', scramIterations: 4096, failureLimit: 3 } } })
const user = async (verb: string, name: string, password: string): Promise<void> => {
  const done = await cli(['user', verb, name, '--data', server.data, '--config', server.configPath], { input: password + '\n' })
  if (done.code !== 0) throw new Error(done.stderr)
}
await user('add', 'alice', 'correct horse')
for (const name of ['bob', 'dora', 'mia']) await user('add', name, 'battery staple')

const auth = (reasonCode: number, authenticationData: Buffer): Packet => ({ cmd: 'auth', reasonCode, properties: { authenticationMethod: method, authenticationData } })
const dataOf = (packet: Packet): Buffer => (packet as IAuthPacket).properties?.authenticationData as Buffer
const answerOf = async (client: RawClient, ...cmds: Array<Packet['cmd']>): Promise<Packet> => await client.packets.take(packet => cmds.includes(packet.cmd), 15_000, cmds.join(' or '))

interface Opening { user: string, password: string, header?: string, change?: (final: Buffer) => Buffer, properties?: IConnectPacket['properties'] }

/** CONNECT and what follows; the CONNACK, and whether it shows that the server knows the password. */
async function open (t: Test, { change = final => final, properties, ...who }: Opening): Promise<{ client: RawClient, connack: IConnackPacket, trusted: boolean }> {
  const client = await RawClient.open(t, server.mqttPort, { version: 5 })
  const scram = new ScramClient(who)
  client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: '', clean: true, keepalive: 60, properties: { authenticationMethod: method, authenticationData: scram.first, ...properties } })
  const first = await answerOf(client, 'auth', 'connack')
  if (first.cmd === 'connack') return { client, connack: first, trusted: false }
  t.match(first, { reasonCode: 0x18, properties: { authenticationMethod: method } }, '[MQTT-4.12.0-2]')
  client.send(auth(0x18, change(scram.final(dataOf(first)))))
  const connack = await answerOf(client, 'connack') as IConnackPacket
  return { client, connack, trusted: connack.reasonCode === 0 && scram.trusts(dataOf(connack)) }
}

await t.test('who is let in', async t => {
  for (const header of ['n,,', 'y,,', 'n,a=alice,']) {
    const { client, connack, trusted } = await open(t, { user: 'alice', password: 'correct horse', header })
    t.match(connack, { reasonCode: 0, properties: { authenticationMethod: method } }, '[MQTT-4.12.0-5]')
    t.ok(trusted, 'the server has shown that it knows the password')
    await client.subscribe('im/u/alice/inbox')
    await client.publish('im/to/u/bob', `hello ${header}`)
    t.match(JSON.parse((await client.next('im/u/alice/inbox')).payload.toString()), { from: 'alice', body: `hello ${header}` })
    await client.disconnect()
  }
})

await t.test('who is not, and no two answers differ', async t => {
  const wrong = await open(t, { user: 'alice', password: 'wrong' })
  t.equal(wrong.connack.reasonCode, 0x87, '[MQTT-4.12.0-4]')
  await within(wrong.client.closed, 10_000, 'the close')
  const nobody = await open(t, { user: 'nobody', password: 'correct horse' })
  t.equal(nobody.connack.reasonCode, 0x87)
  for (const [name, opening, reasonCode] of [
    ['channel binding', { user: 'alice', password: 'correct horse', header: 'p=tls-unique,,' }, 0x86],
    ['somebody else', { user: 'alice', password: 'correct horse', header: 'n,a=bob,' }, 0x87],
    ['no name of a user', { user: 'a,b', password: 'x' }, 0x86],
    ['a message that was cut', { user: 'alice', password: 'correct horse', change: (final: Buffer) => final.subarray(0, -9) }, 0x86],
    ['no message at all', { user: 'alice', password: 'correct horse', properties: { authenticationData: Buffer.alloc(0) } }, 0x86],
    ['another method', { user: 'alice', password: 'correct horse', properties: { authenticationMethod: 'SCRAM-SHA-1' } }, 0x8c]
  ] as const) {
    const { client, connack } = await open(t, opening as Opening)
    t.equal(connack.reasonCode, reasonCode, name)
    await within(client.closed, 10_000, `the close: ${name}`)
  }
  t.match(server.logs(), /"reason":"the authentication method is not offered"[^\n]*"connection refused"/)
  t.equal((await open(t, { user: 'alice', password: 'correct horse' })).connack.reasonCode, 0, 'the account itself is as before')
})

await t.test('failures slow further ones, with a password too', async t => {
  await user('add', 'eve', 'right')
  for (let i = 0; i < 4; i++) t.equal((await open(t, { user: 'eve', password: 'wrong' })).connack.reasonCode, 0x87)
  t.equal((await open(t, { user: 'eve', password: 'right' })).connack.reasonCode, 0x97)
  const { connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'eve', password: 'right' })
  t.equal(connack.reasonCode, 0x97)
})

await t.test('re-authentication on an open connection', async t => {
  const { client } = await open(t, { user: 'dora', password: 'battery staple' })
  await client.subscribe('im/u/dora/inbox')
  const scram = new ScramClient({ user: 'dora', password: 'battery staple' })
  client.send(auth(0x19, scram.first))
  await client.publish('im/to/u/bob', 'meanwhile')
  t.match(JSON.parse((await client.next('im/u/dora/inbox')).payload.toString()), { body: 'meanwhile' })
  client.send(auth(0x18, scram.final(dataOf(await answerOf(client, 'auth')))))
  const done = await answerOf(client, 'auth')
  t.match(done, { reasonCode: 0, properties: { authenticationMethod: method } }, '[MQTT-4.12.0-5]')
  t.ok(scram.trusts(dataOf(done)))
  await client.ping()

  const wrong = new ScramClient({ user: 'dora', password: 'wrong' })
  client.send(auth(0x19, wrong.first))
  client.send(auth(0x18, wrong.final(dataOf(await answerOf(client, 'auth')))))
  t.match(await answerOf(client, 'disconnect', 'auth'), { cmd: 'disconnect', reasonCode: 0x87 }, '[MQTT-4.12.1-2]')
  await within(client.closed, 10_000, 'the close')

  const another = await open(t, { user: 'dora', password: 'battery staple' })
  another.client.send(auth(0x19, new ScramClient({ user: 'alice', password: 'correct horse' }).first))
  t.match(await answerOf(another.client, 'disconnect', 'auth'), { cmd: 'disconnect', reasonCode: 0x87 }, 'as somebody else')
})

await t.test('AUTH says nothing beside method and data', async t => {
  const client = await RawClient.open(t, server.mqttPort, { version: 5 })
  const scram = new ScramClient({ user: 'alice', password: 'correct horse' })
  client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: '', clean: true, keepalive: 60, properties: { authenticationMethod: method, authenticationData: scram.first } })
  t.strictSame(Object.keys((await answerOf(client, 'auth') as IAuthPacket).properties ?? {}).sort(), ['authenticationData', 'authenticationMethod'], '[MQTT-3.15.2-2], [MQTT-3.15.2-3]')
})

await t.test('a new password', async t => {
  await user('add', 'carol', 'old')
  const { client } = await open(t, { user: 'carol', password: 'old' })
  await user('passwd', 'carol', 'new')
  await within(client.closed, 10_000, 'the close at the new password')
  t.equal((await open(t, { user: 'carol', password: 'old' })).connack.reasonCode, 0x87)
  t.ok((await open(t, { user: 'carol', password: 'new' })).trusted)
  await server.kill9()
  await server.restart()
  t.ok((await open(t, { user: 'carol', password: 'new' })).trusted, 'survives kill -9')
})

await t.test('the mqtt package', async t => {
  const scram = new ScramClient({ user: 'mia', password: 'battery staple' })
  const client = connectMqtt(server.url, { protocolVersion: 5, reconnectPeriod: 0, properties: { authenticationMethod: method, authenticationData: scram.first } })
  t.teardown(() => { client.end(true) })
  client.handleAuth = (packet, callback) => { callback(undefined, auth(0x18, scram.final(dataOf(packet))) as IAuthPacket) }
  const connack = await within(new Promise<IConnackPacket>((resolve, reject) => client.on('connect', resolve).on('error', reject)), 15_000, 'the CONNACK')
  t.ok(scram.trusts(dataOf(connack)))
  const message = new Promise<Buffer>(resolve => client.on('message', (_topic, payload) => { resolve(payload) }))
  await client.subscribeAsync('im/u/mia/inbox', { qos: 1 })
  await client.publishAsync('im/to/u/bob', 'hello', { qos: 1 })
  t.match(JSON.parse((await within(message, 15_000, 'the copy')).toString()), { from: 'mia', body: 'hello' })
  await client.endAsync()
})
