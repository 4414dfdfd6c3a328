/** `auth.mode: webhook` at a whole server. */
import type { IDisconnectPacket } from 'mqtt-packet'
import t from 'tap'
import { fileOf, outside } from '../support/jwt.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'

const questions: Array<Record<string, unknown>> = []
let expiresAt: number | undefined
const { url, server: system } = await outside(t, (request, response) => {
  let body = ''
  request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
    const question = JSON.parse(body) as Record<string, unknown>
    questions.push(question)
    response.end(JSON.stringify(question['password'] === 'a secret word' ? { allow: true, user: String(question['user']).split('@')[0], expiresAt } : { allow: false }))
  })
})
const webhook = { url, secretFile: fileOf(t, 'x'.repeat(32)), whenDown: 'cached', cacheSeconds: 0 }
const server = await startServer(t, { config: { auth: { mode: 'webhook', webhook } } })

await t.test('who is let in, and as whom', async t => {
  for (const version of [4, 5] as const) {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, { version, user: 'alice@example.com', clientId: 'phone', password: 'a secret word' })
    t.equal(connack.returnCode ?? connack.reasonCode, 0)
    t.same(questions.at(-1), { user: 'alice@example.com', password: 'a secret word', clientId: 'phone', address: '127.0.0.1', protocol: version === 5 ? 'mqtt5' : 'mqtt3.1.1' })
    t.same(await client.subscribe('im/u/alice/inbox'), [1])
    await client.disconnect()
    const { connack: refused } = await RawClient.connect(t, server.mqttPort, { version, user: 'alice', password: 'wrong' })
    t.equal(refused.returnCode ?? refused.reasonCode, version === 5 ? 0x87 : 5)
  }
})

await t.test('the connection ends when the answer says so', async t => {
  expiresAt = Date.now() + 1_500
  const { client } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'bob', password: 'a secret word' })
  const end = await client.packets.take(packet => packet.cmd === 'disconnect', 10_000, 'the end') as IDisconnectPacket
  t.equal(end.reasonCode, 0xa0)
  expiresAt = undefined
})

await t.test('while it is down', async t => {
  const known = { user: 'carol', clientId: 'phone', password: 'a secret word' }
  t.equal((await RawClient.connect(t, server.mqttPort, known)).connack.returnCode, 0)
  system.close()
  system.closeAllConnections()
  t.equal((await RawClient.connect(t, server.mqttPort, known)).connack.returnCode, 0, 'whom it let in before')
  t.equal((await RawClient.connect(t, server.mqttPort, { ...known, user: 'dora' })).connack.returnCode, 3, 'try again later')
  t.equal((await RawClient.connect(t, server.mqttPort, { ...known, user: 'dora', version: 5 })).connack.reasonCode, 0x88)
  t.match(server.logs(), /the account system did not answer/)
  t.notMatch(server.logs(), /secret word/, 'no password is logged')
  const checked = await cli(['config', 'check', '--set', 'auth.mode=webhook', '--set', 'auth.webhook.url=http://id.example.com/'])
  t.equal(checked.code, 2)
  t.match(checked.stderr, /auth\.webhook\.url must be https/)
})
