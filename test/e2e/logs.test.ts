/** What the log says of clients, and what it never does: no password and no body, whatever its level. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { connectPacket, RawClient } from '../support/raw-client.ts'
import { cli, run, startServer } from '../support/server.ts'
import { generate } from 'mqtt-packet'

type Line = Record<string, unknown>

/** The JSON lines of a log. */
function linesOf (logs: string): Line[] {
  return logs.split('\n').filter(line => line.startsWith('{"level"')).map(line => JSON.parse(line) as Line)
}

for (const level of ['debug', 'trace']) {
  await t.test(`level ${level}`, async t => {
    const server = await startServer(t, { config: { auth: { mode: 'password' }, log: { level, pretty: false } } })
    const secret = (name: string): string => `${name}-Zx81qW-${level}`
    for (const [user, password] of [['alice', secret('password')], ['bob', secret('other')]] as const) {
      t.equal((await cli(['user', 'add', user, '--data', server.data, '--config', server.configPath], { input: password + '\n' })).code, 0)
    }
    const bob = await device(t, server.url, 'bob', { password: secret('other') })
    await bob.subscribe('im/u/bob/#')
    for (const version of [4, 5] as const) {
      const alice = await device(t, version === 4 ? server.url : server.wsUrl, 'alice', { password: secret('password'), version, clientId: `pen${version}` })
      await alice.publish('im/to/u/bob', secret('body'))
      await bob.next('im/u/bob/inbox')
      await alice.publish('im/to/u/bob', { body: { deep: secret('structured') }, meta: { key: secret('meta') } })
      await bob.next('im/u/bob/inbox')
      await alice.publish('im/to/u/bob', { cid: 7, body: secret('refused') })
      await alice.publish('im/u/bob/inbox', secret('forbidden'))
      await alice.publish('im/rpc/groups.create', { rid: 'x', gid: 'a/b', name: secret('request') })
      await alice.publish('im/rpc/unread', `{"rid":"${secret('broken')}`)
      await alice.publish('im/to/u/bob', Buffer.from(secret('binary') + '\xff', 'latin1'))
      await bob.next('im/u/bob/inbox')
    }
    for (const password of [secret('wrong')]) {
      for (const user of ['alice', 'nobody']) {
        const { connack } = await RawClient.connect(t, server.mqttPort, { user, password, will: { topic: 'im/to/u/bob', payload: Buffer.from(secret('will')) } })
          .catch(() => ({ connack: { returnCode: 5 } }))
        t.not(connack.returnCode, 0)
      }
    }
    await server.stop()
    const logs = server.logs()
    t.ok(logs.length > 0, 'there are logs')
    t.notMatch(logs, 'Zx81qW', 'no password, no body')
    t.notMatch(logs, Buffer.from(secret('body')).toString('base64').slice(0, 16))
    t.notMatch(logs, 'argon2')
  })
}

await t.test('who was refused and why, who was cut off, what was not stored', async t => {
  const server = await startServer(t, { config: { auth: { mode: 'password' }, plugins: { 'rate-limit': { messagesPerSecond: 1, burst: 3, maxDelayMs: 0 } }, log: { level: 'info', pretty: false } } })
  const add = await cli(['user', 'add', 'alice', '--data', server.data, '--config', server.configPath], { input: 'right-Zx81qW\n' })
  t.equal(add.code, 0, add.stderr)
  for (const [user, password] of [['alice', 'wrong-Zx81qW'], ['nobody', 'right-Zx81qW'], ['not a name-Zx81qW', 'x']] as const) {
    const { connack } = await RawClient.connect(t, server.mqttPort, { user, password, clientId: 'pen' })
    t.not(connack.returnCode, 0)
  }
  const one = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'right-Zx81qW', clientId: 'pen' })
  for (let i = 0; i < 60; i++) await one.client.publish('im/to/u/alice', `body-Zx81qW ${i}`)
  await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'right-Zx81qW', clientId: 'pen' })
  await one.client.closed
  const rude = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'right-Zx81qW', clientId: 'rude' })
  rude.client.write(Buffer.from([0xf0, 0x00]))
  await rude.client.closed
  await server.stop()
  const lines = linesOf(server.logs())
  const of = (msg: string): Line[] => lines.filter(line => line['msg'] === msg)
  t.match(of('connection refused'), [
    { level: 30, code: 'unauthorized', user: 'alice', clientId: 'pen', address: '127.0.0.1', reason: /wrong user name or password/ },
    { level: 30, code: 'unauthorized', user: 'nobody' },
    { level: 30, code: 'bad_payload', clientId: 'pen' }
  ])
  t.match(of('disconnected').find(({ clientId }) => clientId === 'pen'), { level: 30, user: 'alice', address: '127.0.0.1', reason: /taken over/ })
  t.match(of('protocol error'), [{ level: 30, user: 'alice', clientId: 'rude', address: '127.0.0.1', reason: /\w/ }])
  const refused = of('publish refused')
  t.match(refused[0], { level: 30, code: 'rate_limited', user: 'alice', clientId: 'pen', topic: 'im/to/u/alice' })
  t.ok(refused.some(({ leftOut }) => Number(leftOut) > 0), 'not a line each: the number of the others')
  t.notMatch(server.logs(), 'Zx81qW')
})

await t.test('whatever a client does, it writes no error and no stack', async t => {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['open/#'], limits: { connectTimeoutMs: 2000 } }, log: { level: 'info', pretty: false, linesPerSecond: 0 } } })
  const will = (topic: string): NonNullable<Parameters<typeof connectPacket>[0]['will']> => ({ topic, payload: Buffer.from('bye'), qos: 1, retain: false })
  const ways: Array<(port: number) => Promise<void>> = []
  const say = (...chunks: Array<Buffer | string>) => async (port: number): Promise<void> => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => { socket.destroy() })
    socket.on('data', () => { /* not what this is about */ })
    for (const chunk of chunks) socket.write(chunk)
    socket.end()
    await new Promise<void>(resolve => { socket.once('close', () => { resolve() }) })
  }
  for (const version of [4, 5] as const) {
    const packet = (more: Parameters<typeof connectPacket>[0]): Buffer => generate(connectPacket({ version, user: 'eve', clientId: 'c', ...more }), { protocolVersion: version })
    const then = (...packets: Array<Parameters<typeof generate>[0]>): Buffer => Buffer.concat(packets.map(one => generate(one, { protocolVersion: version })))
    for (const clean of [true, false]) {
      // A will, then away at once: with the CONNECT still under way.
      for (const topic of ['open/x', 'im/to/u/bob', 'im/to/g/none', 'im/to/u/bob/read', 'elsewhere', 'im/rpc/x']) ways.push(say(packet({ clean, will: will(topic) })))
      ways.push(
        say(packet({ clean }), then({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'open/#', qos: 2 }, { topic: 'im/u/eve/#', qos: 1 }] })),
        say(packet({ clean }), then({ cmd: 'publish', topic: 'open/x', payload: 'x', qos: 1, dup: true, retain: true, messageId: 7 }, { cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['open/#', 'nothing'] })),
        say(packet({ clean }), then({ cmd: 'publish', topic: 'open/x', payload: '', qos: 2, dup: false, retain: true, messageId: 7 }, { cmd: 'pubrel', messageId: 7 }, { cmd: 'pubrel', messageId: 8 })),
        say(packet({ clean }), then({ cmd: 'puback', messageId: 5 }, { cmd: 'puback', messageId: 60_000 }, { cmd: 'pubrec', messageId: 60_001 }, { cmd: 'pubcomp', messageId: 60_002 })),
        say(packet({ clean }), packet({ clean })),
        say(packet({ clean, clientId: clean ? '' : 'd' }), then({ cmd: 'publish', topic: 'im/rpc/sync', payload: '{"rid":"a","n":1e999}', qos: 1, dup: false, retain: false, messageId: 1 })),
        say(packet({ clean }), then({ cmd: 'publish', topic: 'im/rpc/history', payload: `{"rid":"a","conv":${'['.repeat(500)}${']'.repeat(500)}}`, qos: 1, dup: false, retain: false, messageId: 1 })),
        say(packet({ clean }), then({ cmd: 'disconnect' }), 'and more')
      )
    }
  }
  ways.push(say('GET / HTTP/1.1\r\n\r\n'), say(Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff])), say(Buffer.alloc(100_000, 0x10)), say(''))
  const http = [say('GET /readyz HTTP/1.1\r\n\r\n'), say(Buffer.alloc(100_000, 0x41)), say('GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
    say('POST /readyz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'), say('GET //\u0001 HTTP/9.9\r\n\r\n')]
  for (let round = 0; round < 3; round++) {
    await Promise.all([...ways.map(async way => { await way(server.mqttPort) }), ...http.map(async way => { await way(server.httpPort) })])
  }
  // One client id for all of the above, and now for many at the same moment.
  await Promise.all(Array.from({ length: 60 }, async () => { await say(generate(connectPacket({ user: 'eve', clientId: 'c' })))(server.mqttPort) }))
  await (await device(t, server.url, 'bob')).publish('im/to/u/eve', 'still there')
  await server.stop()
  const bad = linesOf(server.logs()).filter(({ level, err }) => Number(level) >= 50 || err !== undefined)
  t.strictSame(bad, [])
})

await t.test('a reader of the log that stalls stops nobody', async t => {
  // The server's standard error is a pipe that this process holds open and never reads.
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-'))
  const pipe = join(folder, 'pipe')
  t.equal((await run('mkfifo', [pipe])).code, 0)
  const held = openSync(pipe, 'r+')
  t.teardown(() => {
    closeSync(held)
    rmSync(folder, { recursive: true })
  })
  const server = await startServer(t, {
    config: { log: { level: 'trace', pretty: false, bufferBytes: 65_536 }, plugins: [] },
    wrapper: ['sh', '-c', `exec 2>${pipe}; exec "$@"`, 'sh']
  })
  const alice = await device(t, server.url, 'alice')
  // Two buffers and a pipe full of lines.
  for (let i = 0; i < 1500; i++) await alice.publish('im/nothing', 'x')
  await alice.publish('im/to/u/alice', 'stored')
  t.equal((await fetch(`http://127.0.0.1:${server.httpPort}/readyz`)).status, 200)
  await server.stop()
})

await t.test('log.pretty', async t => {
  const server = await startServer(t, { config: { log: { pretty: true } } })
  await RawClient.connect(t, server.mqttPort, { user: 'a b', clientId: 'x\u001b[2J' })
  await server.stop()
  t.match(server.logs(), /^\d\d:\d\d:\d\d\.\d{3} INFO {2}started addresses=/m)
  t.match(server.logs(), /INFO {2}access: connection refused code=bad_payload .*clientId="x\\u001b\[2J"/)
})
