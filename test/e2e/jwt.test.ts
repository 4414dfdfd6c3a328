/** `auth.mode: jwt` at a whole server: who is let in, that a connection ends with its token, and how it goes on. */
import { writeFileSync } from 'node:fs'
import type { IAuthPacket, IConnackPacket, IDisconnectPacket } from 'mqtt-packet'
import t from 'tap'
import { fileOf, sign, signer } from '../support/jwt.ts'
import { within } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'

const key = signer('k1')
const keyFile = fileOf(t, key.pem)
const jwt = { keyFile, audience: ['chat'], clockToleranceSeconds: 0 }
const server = await startServer(t, { config: { auth: { mode: 'jwt', jwt } } })
const token = (user: string, seconds: number): Promise<string> => sign(key, { sub: user, aud: 'chat', exp: Math.floor(Date.now() / 1000) + seconds })

await t.test('the token is the password, and the user name may be empty', async t => {
  for (const version of [4, 5] as const) {
    for (const user of ['alice', '']) {
      const { client, connack } = await RawClient.connect(t, server.mqttPort, { version, user, password: await token('alice', 60) })
      t.equal(version === 5 ? connack.reasonCode : connack.returnCode, 0)
      t.same(await client.subscribe('im/u/alice/inbox'), [1])
      await client.disconnect()
    }
    const code = async (user: string, password: string): Promise<number | undefined> => {
      const { connack } = await RawClient.connect(t, server.mqttPort, { version, user, password })
      return version === 5 ? connack.reasonCode : connack.returnCode
    }
    const refused = version === 5 ? 0x87 : 5
    t.equal(await code('bob', await token('alice', 60)), refused, 'of another user')
    t.equal(await code('', await token('alice', -1)), refused, 'expired')
    t.equal(await code('alice', 'secret'), refused)
    t.equal(await code('', ''), refused)
  }
  const sent = await token('alice', 60)
  t.notOk(server.logs().includes(sent.split('.')[2] as string), 'no token is logged')
})

await t.test('the connection ends when its token does', async t => {
  const { client: old } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'old', password: await token('alice', 2) })
  const { client } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'alice', clientId: 'new', password: await token('alice', 2) })
  const end = await client.packets.take(packet => packet.cmd === 'disconnect', 10_000, 'the end') as IDisconnectPacket
  t.equal(end.reasonCode, 0xa0, 'maximum connect time')
  await within(client.closed, 10_000, 'the close')
  await within(old.closed, 10_000, 'the close of a client before MQTT 5')
  t.match(server.logs(), /"its token has ended"/)
  const { connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'old', password: await token('alice', 60) })
  t.equal(connack.returnCode, 0, 'it comes back with another one')
})

await t.test('a new token by AUTH keeps the connection', async t => {
  const client = await RawClient.open(t, server.mqttPort, { version: 5 })
  const method = 'JWT'
  client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'auth', clean: true, keepalive: 60, properties: { authenticationMethod: method, authenticationData: Buffer.from(await token('carol', 2)) } })
  const connack = await client.packets.take(packet => packet.cmd === 'connack', 10_000, 'CONNACK') as IConnackPacket
  t.match(connack, { reasonCode: 0, properties: { authenticationMethod: method } })
  const again = async (user: string, seconds: number): Promise<void> => {
    client.send({ cmd: 'auth', reasonCode: 0x19, properties: { authenticationMethod: method, authenticationData: Buffer.from(await token(user, seconds)) } })
  }
  await again('carol', 4)
  t.equal((await client.packets.take(packet => packet.cmd === 'auth', 10_000, 'AUTH') as IAuthPacket).reasonCode, 0)
  const from = Date.now()
  const end = await client.packets.take(packet => packet.cmd === 'disconnect', 15_000, 'the end') as IDisconnectPacket
  t.equal(end.reasonCode, 0xa0)
  t.ok(Date.now() - from > 2_500, 'by the second token')
  const { client: other, connack: open } = await RawClient.connect(t, server.mqttPort, { version: 5, user: '', clientId: 'x', password: await token('carol', 60) })
  t.equal(open.reasonCode, 0)
  other.send({ cmd: 'auth', reasonCode: 0x19, properties: { authenticationMethod: method, authenticationData: Buffer.from(await token('carol', 60)) } })
  t.equal((await other.packets.take(packet => packet.cmd === 'disconnect', 10_000, 'the end') as IDisconnectPacket).reasonCode, 0x82, 'not without the method in CONNECT [MQTT-4.12.0-7]')
})

await t.test('a ban ends the connection, other keys let others in', async t => {
  const { client } = await RawClient.connect(t, server.mqttPort, { user: '', password: await token('dora', 60) })
  const ban = await cli(['user', 'ban', 'dora', '--data', server.data, '--config', server.configPath])
  t.equal(ban.code, 0, ban.stderr)
  await within(client.closed, 10_000, 'the close at the ban')
  const banned = await RawClient.connect(t, server.mqttPort, { version: 5, user: '', password: await token('dora', 60) })
  t.equal(banned.connack.reasonCode, 0x8a)
  const next = signer('k2')
  writeFileSync(keyFile, next.pem)
  let code: number | undefined
  // The file is looked at once in a second.
  for (const end = Date.now() + 10_000; code !== 0 && Date.now() < end;) {
    const password = await sign(next, { sub: 'dora2', aud: 'chat', exp: Math.floor(Date.now() / 1000) + 60 })
    code = (await RawClient.connect(t, server.mqttPort, { user: '', password })).connack.returnCode
  }
  t.equal(code, 0)
  t.equal((await RawClient.connect(t, server.mqttPort, { user: '', password: await token('alice', 60) })).connack.returnCode, 5, 'the old key is over')
})

await t.test('a server without its keys does not start, and its commands work all the same', async t => {
  const missing = startServer(t, { config: { auth: { mode: 'jwt', jwt: { keyFile: '/nowhere/keys' } } } })
  await t.rejects(missing, /the keys of auth cannot be read from \/nowhere\/keys/)
  const folder = t.testdir({ 'sabethes.yaml': JSON.stringify({ auth: { mode: 'jwt', jwt: { keyFile: '/nowhere/keys' } } }) })
  const added = await cli(['user', 'add', 'alice', '--no-password', '--data', `${folder}/data`, '--config', `${folder}/sabethes.yaml`])
  t.equal(added.code, 0, added.stderr)
  t.equal((await cli(['config', 'check', '--set', 'auth.mode=jwt'])).code, 2, 'jwt needs keys')
})
