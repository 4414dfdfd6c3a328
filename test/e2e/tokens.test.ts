/** Login tokens at a whole server: connections end and go on with them. */
import type { IDisconnectPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'

interface Made { id: string, accessToken: string, refreshToken: string }
const tokens = { accessSeconds: 10, graceSeconds: 0, platforms: ['phone=1'] }
const server = await startServer(t, { config: { auth: { mode: 'password', tokens } } })
const password = 'correct horse'
await cli(['user', 'add', 'alice', '--data', server.data, '--config', server.configPath], { input: password + '\n' })

let rid = 0
async function ask (client: RawClient, method: string, params: object): Promise<Record<string, unknown>> {
  const name = `r${++rid}`
  await client.publish(`im/rpc/${method}`, JSON.stringify({ rid: name, ...params }))
  return JSON.parse((await client.next(`im/u/alice/rpc/${name}`)).payload.toString()) as Record<string, unknown>
}
async function login (client: RawClient, params: object = {}): Promise<Made> {
  const answer = await ask(client, 'tokens.create', { password, ...params })
  if (answer['ok'] !== true) throw new Error(JSON.stringify(answer))
  return answer['result'] as Made
}
async function open (t: Test, secret: string, clientId: string, version: 4 | 5 = 5): Promise<{ client: RawClient, code: number | undefined }> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version, user: 'alice', password: secret, clientId })
  return { client, code: connack.returnCode ?? connack.reasonCode }
}

const { client: desk } = await open(t, password, 'desk')

await t.test('one phone: the second login ends the first with a notice, and its token brings nobody back', async t => {
  const first = await login(desk, { platform: 'phone' })
  const { client: old, code } = await open(t, first.accessToken, 'old phone')
  t.equal(code, 0)
  await old.subscribe('im/u/alice/notice', 0)
  const second = await login(desk, { platform: 'phone' })
  t.match(JSON.parse((await old.next('im/u/alice/notice')).payload.toString()), { kind: 'signedOut', login: first.id })
  await within(old.closed, 10_000, 'the close')
  t.equal((await open(t, first.accessToken, 'old phone')).code, 0x87)
  const { client, code: opened } = await open(t, second.accessToken, 'new phone')
  t.equal(opened, 0)
  await client.ping()
  await desk.ping()
  t.notOk([first, second].some(({ accessToken, refreshToken }) => server.logs().includes(accessToken) || server.logs().includes(refreshToken)), 'no token is logged')
})

await t.test('a connection goes on when its login is renewed, and ends otherwise', async t => {
  const [renewed, left] = [await login(desk), await login(desk)]
  const { client } = await open(t, renewed.accessToken, 'renewed')
  const { client: other } = await open(t, left.accessToken, 'left')
  const { client: third } = await open(t, left.accessToken, 'third', 4)
  const renew = async (token: string): Promise<Made> => (await ask(client, 'tokens.refresh', { refreshToken: token }))['result'] as Made
  const timer = setTimeout(() => { renew(renewed.refreshToken).catch((error: Error) => { t.fail(error.message) }) }, 5_000)
  t.teardown(() => { clearTimeout(timer) })
  const end = await other.packets.take(packet => packet.cmd === 'disconnect', 20_000, 'the end') as IDisconnectPacket
  t.equal(end.reasonCode, 0xa0)
  await within(third.closed, 10_000, 'the close of a client before MQTT 5')
  await client.ping()
  t.pass('the other one goes on')
})

await t.test('a stolen refresh token ends its login, over kill -9 too', async t => {
  const made = await login(desk)
  const renewed = (await ask(desk, 'tokens.refresh', { refreshToken: made.refreshToken }))['result'] as Made
  await server.kill9()
  await server.restart()
  const { client, code } = await open(t, renewed.accessToken, 'phone')
  t.equal(code, 0)
  const { client: thief } = await open(t, password, 'thief')
  t.match(await ask(thief, 'tokens.refresh', { refreshToken: made.refreshToken }), { ok: false, code: 'unauthorized' })
  await within(client.closed, 10_000, 'the close')
  t.equal((await open(t, renewed.accessToken, 'phone')).code, 0x87)
  t.match(server.logs(), /a refresh token was used again/)
})

await t.test('over HTTP, and after a long time away', async t => {
  const call = async (method: string, path: string, authorization: string, body?: object): Promise<{ status: number, body: any }> => {
    const answer = await fetch(`http://127.0.0.1:${server.httpPort}/v1/${path}`, { method, headers: { authorization, ...body !== undefined && { 'content-type': 'application/json' } }, ...body !== undefined && { body: JSON.stringify(body) } })
    return { status: answer.status, body: await answer.json() }
  }
  const basic = 'Basic ' + Buffer.from(`alice:${password}`).toString('base64')
  const { status, body: made } = await call('POST', 'tokens', basic, { password, name: 'curl' })
  t.equal(status, 200)
  t.match(await call('GET', 'tokens', `Bearer ${made.accessToken}`), { status: 200, body: { logins: [{}] } })
  const { client: away } = await open(t, made.refreshToken, 'away')
  const { result } = await ask(away, 'tokens.refresh', { refreshToken: made.refreshToken }) as unknown as { result: Made }
  t.match(await call('GET', 'tokens', `Bearer ${made.accessToken}`), { status: 401 }, 'what was renewed counts no more, also where it was remembered')
  const renewed = await call('POST', 'tokens/refresh', `Bearer ${result.refreshToken}`, { refreshToken: result.refreshToken })
  t.match(renewed, { status: 200, body: { id: made.id } })
  t.match(await call('POST', 'tokens/revoke', `Bearer ${renewed.body.accessToken}`, { id: made.id }), { status: 200, body: { ended: [made.id] } })
  await within(away.closed, 10_000, 'the close')
  t.match(await call('GET', 'tokens', `Bearer ${renewed.body.accessToken}`), { status: 401 })
  t.match(await call('POST', 'account/password', basic, { password: 'wrong', newPassword: 'x' }), { status: 401 })
})

await t.test('another password ends all but the login that is kept', async t => {
  const { client: first } = await open(t, password, 'first')
  const [kept, other] = [await login(first), await login(first)]
  const { client } = await open(t, kept.accessToken, 'kept')
  const { client: gone } = await open(t, other.accessToken, 'other')
  t.match(await ask(client, 'account.password', { password, newPassword: 'battery staple', keep: kept.id }), { ok: true })
  await Promise.all([first, gone].map(one => within(one.closed, 10_000, 'the close')))
  await client.ping()
  t.equal((await open(t, password, 'x')).code, 0x87)
  t.equal((await open(t, 'battery staple', 'x')).code, 0)
  t.equal((await open(t, kept.accessToken, 'y')).code, 0)
  t.equal((await open(t, other.accessToken, 'z')).code, 0x87)
})
