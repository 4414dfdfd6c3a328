/** MQTT, HTTP and WebSocket over TLS, with the programs that people use. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import t from 'tap'
import type { Test } from 'tap'
import { authority } from '../support/certificates.ts'
import type { Authority, Certificate } from '../support/certificates.ts'
import { until } from '../support/mailbox.ts'
import { listen, mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { json, RawClient } from '../support/raw-client.ts'
import { freePort, mainPath, run, startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

interface Places { server: Server, mqtts: number, https: number, own: Certificate }

async function places (t: Test, ca: Authority, listener: Record<string, unknown> = {}): Promise<Places> {
  const own = await ca.sign('sabethes')
  const [mqtts, https] = [await freePort(), await freePort()]
  const server = await startServer(t, { config: { listeners: [{ kind: 'mqtts', port: mqtts, ...own, ...listener }, { kind: 'https', port: https, ...own, ...listener }] } })
  return { server, mqtts, https, own }
}

async function handshake (t: Test, port: number, caFile: string): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca: readFileSync(caFile) })
  t.teardown(() => { socket.destroy() })
  await once(socket, 'secureConnect')
  return socket
}

/** Resolves to the exit code of a mosquitto_pub. */
function publisher (ca: Authority): (port: number, one: Certificate | undefined, ...more: string[]) => Promise<number | null> {
  return async (port, one, ...more) => {
    const shown = one === undefined ? [] : ['--cert', one.certFile, '--key', one.keyFile]
    return (await run('mosquitto_pub', [...here, '-p', String(port), '--cafile', ca.caFile, ...shown, '-t', 'im/to/u/bob', '-m', 'hello', ...more])).code
  }
}

const here = ['-h', '127.0.0.1', '-q', '1']

await t.test('mosquitto_pub and mosquitto_sub, curl, openssl, and mqtt over both', async t => {
  const ca = await authority(t)
  if (ca === undefined || !requireMosquitto(t) || !requireTool(t, 'curl')) return
  const { server, mqtts, https } = await places(t, ca)
  const { lines } = await listen(t, mqtts, '--cafile', ca.caFile, '-u', 'bob', '-q', '1', '-t', 'im/u/bob/inbox')
  t.match(await run('mosquitto_pub', [...here, '-p', String(mqtts), '--cafile', ca.caFile, '-u', 'alice', '-t', 'im/to/u/bob', '-m', 'over TLS']), { code: 0 })
  t.match(JSON.parse(await lines.take()), { from: 'alice', body: 'over TLS' })
  t.match(await run('curl', ['-sS', '--cacert', ca.caFile, `https://127.0.0.1:${https}/readyz`]), { code: 0, stdout: 'ready' })
  t.not((await run('curl', ['-sS', `https://127.0.0.1:${https}/readyz`])).code, 0, 'who knows nothing of the signer does not talk to it')
  const said = await run('openssl', ['s_client', '-connect', `127.0.0.1:${mqtts}`, '-CAfile', ca.caFile, '-verify_return_error', '-brief'], { input: '' })
  t.match(said.stderr + said.stdout, /Verification: OK/)
  const options = { ca: readFileSync(ca.caFile) }
  const carol = await device(t, `wss://127.0.0.1:${https}/mqtt`, 'carol', { options })
  const dave = await device(t, `mqtts://127.0.0.1:${mqtts}`, 'dave', { options, version: 5 })
  await carol.subscribe('im/u/carol/inbox')
  await dave.publish('im/to/u/carol', 'x'.repeat(60_000))
  t.equal((await carol.nextJson('im/u/carol/inbox')).body, 'x'.repeat(60_000))
  t.match(await mosquittoPub(mqtts, '-u', 'alice', '-t', 'im/to/u/bob', '-m', 'x'), { stderr: /./ }, 'without TLS there is no answer')
  const plain = await device(t, server.url, 'erin')
  await plain.publish('im/to/u/carol', 'from the plain listener')
  t.equal((await carol.nextJson('im/u/carol/inbox')).body, 'from the plain listener')
})

await t.test('a certificate says who its client is', async t => {
  const ca = await authority(t)
  const stranger = await authority(t, 'stranger')
  if (ca === undefined || stranger === undefined || !requireMosquitto(t)) return
  const required = await places(t, ca, { clientCertificates: 'required', caFile: ca.caFile })
  const [alice, foreign, nobody] = [await ca.sign('alice'), await stranger.sign('alice'), await ca.sign('no user name')]
  const { lines } = await listen(t, required.server.mqttPort, '-u', 'bob', '-q', '1', '-t', 'im/u/bob/inbox')
  const pub = publisher(ca)
  t.equal(await pub(required.mqtts, alice), 0, 'no user name and no password')
  t.match(JSON.parse(await lines.take()), { from: 'alice' })
  t.equal(await pub(required.mqtts, alice, '-u', 'alice'), 0)
  t.match(JSON.parse(await lines.take()), { from: 'alice' })
  t.not(await pub(required.mqtts, alice, '-u', 'mallory'), 0, "another one's name")
  t.not(await pub(required.mqtts, undefined, '-u', 'alice'), 0, 'no certificate')
  t.not(await pub(required.mqtts, foreign), 0, 'signed by another one')
  t.not(await pub(required.mqtts, nobody), 0, 'no name of a user in it')
  const ws = await device(t, `wss://127.0.0.1:${required.https}/mqtt`, 'alice', { options: { ca: readFileSync(ca.caFile), cert: readFileSync(alice.certFile), key: readFileSync(alice.keyFile) } })
  await ws.publish('im/to/u/bob', 'over WebSocket')
  t.match(JSON.parse(await lines.take()), { from: 'alice', body: 'over WebSocket' })
  t.same(lines.waiting, [])
})

await t.test('a certificate that need not be there', async t => {
  const ca = await authority(t)
  const stranger = await authority(t, 'stranger')
  if (ca === undefined || stranger === undefined || !requireMosquitto(t)) return
  const pub = publisher(ca)
  const [alice, foreign] = [await ca.sign('alice'), await stranger.sign('alice')]
  const optional = await places(t, ca, { clientCertificates: 'optional', caFile: ca.caFile })
  t.equal(await pub(optional.mqtts, undefined, '-u', 'carol'), 0, 'without a certificate as on any other listener')
  t.equal(await pub(optional.mqtts, alice), 0)
  t.not(await pub(optional.mqtts, foreign, '-u', 'alice'), 0, 'one that is not to be trusted is no better for a password')
})

await t.test('with accounts, whoever has a certificate needs one', async t => {
  const ca = await authority(t)
  if (ca === undefined) return
  const own = await ca.sign('sabethes')
  const mqtts = await freePort()
  const server = await startServer(t, { config: { auth: { mode: 'password' }, listeners: [{ kind: 'mqtts', port: mqtts, ...own, clientCertificates: 'required', caFile: ca.caFile }] } })
  const alice = await ca.sign('alice')
  const options = { ca: readFileSync(ca.caFile), cert: readFileSync(alice.certFile), key: readFileSync(alice.keyFile) }
  await t.rejects(device(t, `mqtts://127.0.0.1:${mqtts}`, 'alice', { options, version: 5 }), /Bad User Name or Password|Not authorized/i)
  const cli = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run(process.execPath, [mainPath, 'user', ...args, '--data', server.data, '--config', server.configPath], { input: 'correct horse\n' })
    t.equal(code, 0, stderr)
  }
  await cli('add', 'alice')
  const known = await device(t, `mqtts://127.0.0.1:${mqtts}`, 'alice', { options, version: 5 })
  await known.subscribe('im/u/alice/inbox')
  const closed = new Promise<void>(resolve => { known.client.once('close', () => { resolve() }) })
  await cli('ban', 'alice')
  await closed
  await t.rejects(device(t, `mqtts://127.0.0.1:${mqtts}`, 'alice', { options, version: 5 }), /Banned|Not authorized/i)
})

await t.test('a renewed certificate is shown to new connections; old ones stay', async t => {
  const ca = await authority(t)
  if (ca === undefined) return
  const own = await ca.sign('sabethes', 'server')
  const [mqtts, https] = [await freePort(), await freePort()]
  const server = await startServer(t, { config: { listeners: [{ kind: 'mqtts', port: mqtts, ...own }, { kind: 'https', port: https, ...own }] } })
  const before = (await handshake(t, mqtts, ca.caFile)).getPeerCertificate().serialNumber
  const alice = await device(t, `mqtts://127.0.0.1:${mqtts}`, 'alice', { options: { ca: readFileSync(ca.caFile) } })
  await ca.sign('sabethes', 'server')
  for (const port of [mqtts, https]) await until(async () => (await handshake(t, port, ca.caFile)).getPeerCertificate().serialNumber !== before, 20_000, `the new certificate on ${port}`)
  t.match(server.logs(), 'the certificate was read anew')
  await alice.subscribe('im/u/alice/inbox')
  await alice.publish('im/to/u/alice', 'still here')
  t.match(await alice.nextJson('im/u/alice/inbox'), { body: 'still here' })
})

await t.test('behind a proxy that says where clients are', async t => {
  const port = await freePort()
  const server = await startServer(t, { config: { listeners: [{ kind: 'mqtt', port, proxyProtocol: true, proxies: ['127.0.0.0/8'] }] } })
  const stream = connectPlain(port, '127.0.0.1')
  stream.write('PROXY TCP4 203.0.113.9 127.0.0.1 12345 1883\r\n')
  const { client, connack } = await RawClient.connect(t, 0, { user: 'no name', stream, version: 5 })
  t.ok((connack.reasonCode ?? 0) >= 0x80)
  await client.closed
  await until(() => server.logs().includes('"address":"203.0.113.9"'), 5_000, 'the address in the log')
  const other = connectPlain(port, '127.0.0.1')
  other.write('PROXY TCP4 203.0.113.9 127.0.0.1 12345 1883\r\n')
  const { client: bob } = await RawClient.connect(t, 0, { user: 'bob', stream: other })
  t.same(await bob.subscribe('im/u/bob/inbox'), [1])
  await bob.publish('im/to/u/bob', 'hello')
  t.match(json(await bob.next('im/u/bob/inbox')), { body: 'hello' })
})

await t.test('behind a proxy and with TLS, over WebSocket as well', async t => {
  const ca = await authority(t)
  if (ca === undefined) return
  const own = await ca.sign('sabethes')
  const [mqtts, https] = [await freePort(), await freePort()]
  const behind = { ...own, proxyProtocol: true, proxies: ['127.0.0.1'] }
  const server = await startServer(t, { config: { log: { level: 'debug' }, listeners: [{ kind: 'mqtts', port: mqtts, ...behind }, { kind: 'https', port: https, ...behind }] } })
  const secured = async (port: number, address: string): Promise<TLSSocket> => {
    const raw = connectPlain(port, '127.0.0.1')
    await once(raw, 'connect')
    raw.write(`PROXY TCP4 ${address} 127.0.0.1 12345 443\r\n`)
    const socket = connect({ socket: raw, ca: readFileSync(ca.caFile), host: '127.0.0.1' })
    t.teardown(() => { socket.destroy() })
    await once(socket, 'secureConnect')
    return socket
  }
  await RawClient.connect(t, 0, { user: 'bob', stream: await secured(mqtts, '203.0.113.7') })
  const web = await secured(https, '203.0.113.8')
  web.write(`GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:${https}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\nSec-WebSocket-Protocol: wrong\r\n\r\n`)
  for (const address of ['203.0.113.7', '203.0.113.8']) await until(() => server.logs().includes(`"address":"${address}"`), 5_000, `${address} in the log`)
})

await t.test('a listener that cannot work ends the start, and says why', async t => {
  const folder = t.testdir({})
  const ca = await authority(t)
  if (ca === undefined) return
  const [one, other] = [await ca.sign('one'), await ca.sign('other')]
  const start = async (listener: Record<string, unknown>): Promise<string> => {
    const { code, stderr } = await run(process.execPath, [mainPath, 'serve', '--data', `${folder}/data`, '--mqtt-port', '0', '--http-port', '0', '--set', `listeners=${JSON.stringify([listener])}`], { cwd: folder })
    t.not(code, 0)
    return stderr
  }
  t.match(await start({ kind: 'mqtts', port: 0, certFile: one.certFile, keyFile: other.keyFile }), new RegExp(`the certificate ${one.certFile} with the key ${other.keyFile} cannot be used`))
  t.match(await start({ kind: 'mqtts', port: 0, certFile: `${folder}/none.pem`, keyFile: one.keyFile }), /none\.pem/)
  t.match(await start({ kind: 'mqtts', port: 0 }), /mqtts needs certFile and keyFile/)
  t.match(await start({ kind: 'https', port: 0, host: '0.0.0.0', ...one }), /not a loopback address/)
})
