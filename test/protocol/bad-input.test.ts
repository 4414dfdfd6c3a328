/**
 * Every class of bad input: refused or survived, and after each a bystander's ping and echo work, in the same process, and at
 * the end the memory is back. Clauses are of MQTT 3.1.1 unless they say otherwise.
 */
import t from 'tap'
import type { Test } from 'tap'
import WebSocket from 'ws'
import { merge, wide } from '../support/configs.ts'
import { until, within } from '../support/mailbox.ts'
import { RawClient, connectPacket, json } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'
import { generate } from 'mqtt-packet'

const str = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
const frame = (first: number, ...parts: Array<Buffer | number[] | string>): Buffer => {
  const body = Buffer.concat(parts.map(part => Buffer.from(part as string)))
  const length: number[] = []
  let rest = body.length
  do {
    const byte = rest & 127
    rest >>= 7
    length.push(rest > 0 ? byte | 128 : byte)
  } while (rest > 0)
  return Buffer.concat([Buffer.from([first, ...length]), body])
}
const connectHead = (flags: number, name = 'MQTT', level = 4): Buffer => Buffer.concat([str(name), Buffer.from([level, flags, 0, 60])])
const hello = (options: RawConnect = {}): Buffer => generate(connectPacket({ user: 'eve', clientId: 'bad', ...options }))

/** Sent as the first bytes of a connection: the server must close it, without letting it in. */
const beforeConnect: Array<[string, Buffer]> = [
  ['a PINGREQ first [3.1.0-1]', Buffer.from([0xc0, 0])],
  ['a PUBLISH first [3.1.0-1]', frame(0x32, str('im/to/u/bob'), [0, 1], 'x')],
  ['a packet of type 0', Buffer.from([0x00, 0])],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['TLS', Buffer.from('16030100c8010000c40303', 'hex')],
  ['a remaining length of 5 bytes [2.2.3]', Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01])],
  ['a CONNECT that claims 256 MB', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])],
  ['a CONNECT over the cap', frame(0x10, connectHead(2), str('bad'), Buffer.alloc(40_000))],
  ['CONNECT with reserved header flags [2.2.2-2]', frame(0x11, connectHead(2), str('bad'))],
  ['CONNECT with the reserved connect flag [3.1.2-3]', frame(0x10, connectHead(0x83), str('bad'), str('eve'))],
  ['an unknown protocol name [3.1.2-1]', frame(0x10, connectHead(2, 'MQTX'), str('bad'))],
  ['MQIsdp with level 4', frame(0x10, connectHead(0x82, 'MQIsdp', 4), str('bad'), str('eve'))],
  ['will QoS 3 [3.1.2-14]', frame(0x10, connectHead(0x9e), str('bad'), str('w'), str('x'), str('eve'))],
  ['will QoS without a will [3.1.2-13]', frame(0x10, connectHead(0x8a), str('bad'), str('eve'))],
  ['will retain without a will [3.1.2-15]', frame(0x10, connectHead(0xa2), str('bad'), str('eve'))],
  ['a password without a name [3.1.2-22]', frame(0x10, connectHead(0x42), str('bad'), str('pass'))],
  ['an empty client id that wants to stay [3.1.3-8]', frame(0x10, connectHead(0x80), str(''), str('eve'))],
  ['a client id with invalid UTF-8 [1.5.3-1]', frame(0x10, connectHead(0x82), str(Buffer.from([0xc3, 0x28])), str('eve'))],
  ['a client id with a surrogate [1.5.3-1]', frame(0x10, connectHead(0x82), str(Buffer.from([0xed, 0xa0, 0x80])), str('eve'))],
  ['a client id with U+0000 [1.5.3-2]', frame(0x10, connectHead(0x82), str(Buffer.from('a\0b')), str('eve'))],
  ['a client id over the limit', frame(0x10, connectHead(0x82), str('x'.repeat(2000)), str('eve'))],
  ['a user name with U+0000', frame(0x10, connectHead(0x82), str('bad'), str('e\0e'))],
  ['a user name that is no id', frame(0x10, connectHead(0x82), str('bad'), str('a/b'))],
  ['a user name that is a wildcard', frame(0x10, connectHead(0x82), str('bad'), str('+'))],
  ['an empty will topic', frame(0x10, connectHead(0x86), str('bad'), str(''), str('x'), str('eve'))],
  ['a wildcard will topic', frame(0x10, connectHead(0x86), str('bad'), str('a/#'), str('x'), str('eve'))],
  ['a will topic with U+0000', frame(0x10, connectHead(0x86), str('bad'), str('a\0'), str('x'), str('eve'))],
  ['bytes after the payload', frame(0x10, connectHead(0x82), str('bad'), str('eve'), 'garbage')],
  ['a string longer than the packet', frame(0x10, connectHead(0x82), [0xff, 0xff], 'bad')],
  ['a cut CONNECT body', frame(0x10, connectHead(0x82))],
  ['an MQTT 5 CONNECT with a property twice', frame(0x10, Buffer.concat([str('MQTT'), Buffer.from([5, 2, 0, 60, 10, 0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1])]), str('bad'))],
  ['an MQTT 5 CONNECT with Receive Maximum 0', frame(0x10, Buffer.concat([str('MQTT'), Buffer.from([5, 2, 0, 60, 3, 0x21, 0, 0])]), str('bad'))],
  ['an MQTT 5 CONNECT with an unknown property', frame(0x10, Buffer.concat([str('MQTT'), Buffer.from([5, 2, 0, 60, 2, 0x7f, 0])]), str('bad'))]
]

/** Sent after a good CONNECT of MQTT 3.1.1: the server must close the connection. */
const afterConnect: Array<[string, Buffer]> = [
  ['a second CONNECT [3.1.0-2]', hello()],
  ['a CONNACK', Buffer.from([0x20, 2, 0, 0])],
  ['a SUBACK', Buffer.from([0x90, 3, 0, 1, 0])],
  ['a PINGRESP', Buffer.from([0xd0, 0])],
  ['packet type 0', Buffer.from([0x00, 0])],
  ['packet type 15 (AUTH is of version 5)', Buffer.from([0xf0, 0])],
  ['SUBSCRIBE with flags 0 [3.8.1-1]', frame(0x80, [0, 1], str('im/u/eve/inbox'), [1])],
  ['UNSUBSCRIBE with flags 0 [3.10.1-1]', frame(0xa0, [0, 1], str('im/u/eve/inbox'))],
  ['PUBREL with flags 0 [3.6.1-1]', Buffer.from([0x60, 2, 0, 1])],
  ['PINGREQ with flags', Buffer.from([0xc1, 0])],
  ['PINGREQ with a body', Buffer.from([0xc0, 1, 0])],
  ['DISCONNECT with a body', Buffer.from([0xe0, 1, 0])],
  ['QoS 3 [3.3.1-4]', frame(0x36, str('im/to/u/bob'), [0, 1], 'x')],
  ['DUP at QoS 0 [3.3.1-2]', frame(0x38, str('im/to/u/bob'), 'x')],
  ['PUBLISH with packet id 0 [2.3.1-1]', frame(0x32, str('im/to/u/bob'), [0, 0], 'x')],
  ['SUBSCRIBE with packet id 0 [2.3.1-1]', frame(0x82, [0, 0], str('im/u/eve/inbox'), [1])],
  ['SUBSCRIBE without filters [3.8.3-3]', frame(0x82, [0, 1])],
  ['UNSUBSCRIBE without filters [3.10.3-2]', frame(0xa2, [0, 1])],
  ['SUBSCRIBE with QoS 3 [3.8.3-4]', frame(0x82, [0, 1], str('im/u/eve/inbox'), [3])],
  ['SUBSCRIBE with reserved bits [3.8.3-4]', frame(0x82, [0, 1], str('im/u/eve/inbox'), [0x81])],
  ['a filter a/+b [4.7.1-3]', frame(0x82, [0, 1], str('a/+b'), [1])],
  ['a filter a/#/b [4.7.1-2]', frame(0x82, [0, 1], str('a/#/b'), [1])],
  ['an empty filter [4.7.3-1]', frame(0x82, [0, 1], str(''), [1])],
  ['a filter with invalid UTF-8', frame(0x82, [0, 1], str(Buffer.from([0xff, 0xfe])), [1])],
  ['a topic with invalid UTF-8 [1.5.3-1]', frame(0x30, str(Buffer.from([0x61, 0xc0, 0x80])), 'x')],
  ['a topic with a surrogate', frame(0x30, str(Buffer.from([0xed, 0xbf, 0xbf])), 'x')],
  ['a topic with U+0000 [1.5.3-2]', frame(0x30, str(Buffer.from('im/to/u/b\0b')), 'x')],
  ['a topic with + [3.3.2-2]', frame(0x30, str('im/to/u/+'), 'x')],
  ['a topic with # [3.3.2-2]', frame(0x32, str('im/#'), [0, 1], 'x')],
  ['an empty topic [4.7.3-1]', frame(0x30, str(''), 'x')],
  ['a topic of 64 kB', frame(0x30, str('a'.repeat(65_535)), 'x')],
  ['a topic of 1,000 levels', frame(0x30, str('a/'.repeat(999)), 'x')],
  ['a topic longer than the packet', frame(0x30, [0, 50], 'im')],
  ['a PUBLISH that ends before its packet id', frame(0x32, str('im/to/u/bob'), [0])],
  ['a PUBACK of one byte', Buffer.from([0x40, 1, 0])],
  ['a PUBACK of 3 bytes', Buffer.from([0x40, 3, 0, 1, 0])],
  // A PUBLISH over the cap is dropped as it comes, and refused: see e2e/too-large.
  ['a packet of more than the cap', frame(0x82, [0, 1], Buffer.alloc(300_000))],
  ['the claim of 256 MB', Buffer.from([0x82, 0xff, 0xff, 0xff, 0x7f])],
  ['a remaining length of 5 bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])],
  ['random bytes', Buffer.from('fedcba98765432100123456789abcdeffedcba9876543210', 'hex')]
]

/** A user whose connection and echo must survive all of it. */
class Bystander {
  readonly client: RawClient
  readonly #pid: number
  readonly #server: Server
  #count = 0
  constructor (client: RawClient, server: Server) {
    this.client = client
    this.#server = server
    this.#pid = server.pid
  }

  static async of (t: Test, server: Server): Promise<Bystander> {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'bystander' })
    await client.subscribe('im/u/bystander/inbox')
    return new Bystander(client, server)
  }

  async check (t: Test, after: string): Promise<void> {
    const body = `echo ${++this.#count}`
    try {
      await this.client.ping()
      await this.client.publish('im/to/u/bystander', body)
      t.match(json(await this.client.next('im/u/bystander/inbox')), { body, seq: this.#count }, `${after}: the bystander is well`)
    } catch (cause) {
      t.fail(`${after}: ${(cause as Error).message}`)
      throw cause
    }
    t.ok(this.#server.running() && this.#server.pid === this.#pid, `${after}: the same process`)
  }
}

const config = merge(wide, { mqtt: { limits: { connectTimeoutMs: 1000 } } })

await t.test('bytes before CONNECT', async t => {
  const server = await startServer(t, { config })
  const bystander = await Bystander.of(t, server)
  for (const [name, bytes] of beforeConnect) {
    const client = await RawClient.open(t, server.mqttPort)
    client.write(bytes)
    await within(client.closed, 5000, name).then(() => t.pass(name), (cause: Error) => t.fail(cause.message))
    const accepted = client.packets.waiting.some(p => p.cmd === 'connack' && (p.returnCode ?? p.reasonCode) === 0)
    t.notOk(accepted, `${name}: not let in`)
    await bystander.check(t, name)
  }
})

await t.test('bytes after CONNECT', async t => {
  const server = await startServer(t, { config })
  const bystander = await Bystander.of(t, server)
  for (const [name, bytes] of afterConnect) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'eve' })
    client.write(bytes)
    await within(client.closed, 5000, name).then(() => t.pass(name), (cause: Error) => t.fail(cause.message))
    await bystander.check(t, name)
  }
  for (const [name, bytes] of afterConnect.slice(0, 12)) {
    const client = await RawClient.open(t, server.mqttPort)
    client.write(Buffer.concat([hello(), bytes]))
    await within(client.closed, 5000, `${name}, in one write with CONNECT`).then(() => t.pass(name), (cause: Error) => t.fail(cause.message))
    await bystander.check(t, name)
  }
})

await t.test('slow and silent connections', async t => {
  const server = await startServer(t, { config })
  const bystander = await Bystander.of(t, server)
  const silent = await Promise.all(Array.from({ length: 50 }, async () => await RawClient.open(t, server.mqttPort)))
  const half = await RawClient.open(t, server.mqttPort)
  half.write(hello().subarray(0, 8))
  const drip = await RawClient.open(t, server.mqttPort)
  const bytes = hello({ clientId: 'x'.repeat(100) })
  let at = 0
  const timer = setInterval(() => { if (at < bytes.length - 1) drip.write(bytes.subarray(at, ++at)) }, 100)
  t.teardown(() => { clearInterval(timer) })
  await within(Promise.all([...silent, half, drip].map(async one => { await one.closed })), 15_000, 'silent and dripping connections are cut')
  clearInterval(timer)
  await bystander.check(t, 'silent, half and dripping CONNECTs')

  const { client: quiet } = await RawClient.connect(t, server.mqttPort, { user: 'eve', keepaliveSeconds: 1 })
  await within(quiet.closed, 10_000, 'one and a half keep alives [3.1.2-24]')
  const { client: cut } = await RawClient.connect(t, server.mqttPort, { user: 'eve' })
  cut.write(frame(0x32, str('im/to/u/bystander'), [0, 9], 'never whole').subarray(0, 20))
  cut.cut()
  await bystander.check(t, 'a PUBLISH cut in the middle')
})

await t.test('behaviour', async t => {
  const server = await startServer(t, { config: merge(config, { mqtt: { openTopics: ['home/#'], limits: { subscriptionsPerSession: 50, retained: 100 } } }) })
  const bystander = await Bystander.of(t, server)
  const { client: eve } = await RawClient.connect(t, server.mqttPort, { user: 'eve', clientId: 'bad' })
  const flood = Array.from({ length: 60 }, (_, i) => `home/${i}/+`)
  const codes: number[] = []
  for (const filter of flood) codes.push(...await eve.subscribe(filter))
  t.equal(codes.filter(code => code < 0x80).length, 50, 'subscriptions have a limit')
  await bystander.check(t, 'a subscription flood')

  for (let i = 0; i < 150; i++) await eve.publish(`home/r/${i}`, 'x', { retain: true })
  const { client: reader } = await RawClient.connect(t, server.mqttPort, { user: 'reader' })
  await reader.subscribe('home/r/#')
  await reader.ping()
  await until(() => reader.received >= 100, 5000, 'retained messages')
  t.equal(reader.received, 100, 'retained messages have a limit')
  await bystander.check(t, 'a flood of retained messages')

  const closed = eve.closed.then(() => 'closed')
  for (const topic of ['$SYS/broker/new/clients', '$SYS/x/new/clients', 'im/u/bystander/inbox', 'im/u/bystander/notice', 'im/g/x', 'im/server']) {
    await eve.publish(topic, '{"id":"bystander"}', { retain: true })
    await bystander.check(t, topic)
  }
  for (const id of ['__proto__', 'constructor', '..', '.', '-']) await eve.publish(`im/to/u/${id}`, 'hello')
  for (const id of ['a/b', '../x', 'a b', 'ü', 'x'.repeat(65), '']) {
    await eve.publish(`im/to/u/${id}`, 'hello')
    await eve.publish(`im/to/g/${id}`, 'hello')
  }
  await bystander.check(t, 'ids')
  for (const payload of ['['.repeat(60_000), '{"a":'.repeat(12_000), `{"body":${'['.repeat(5000)}${']'.repeat(5000)}}`, '{"body":1e999}',
    '{"cid":7,"body":""}', '{"body":"x","mentions":"bob"}', '{"body":"x","meta":[]}', '{"__proto__":{"x":1},"body":"x"}', '"', '{', 'null']) {
    await eve.publish('im/to/u/bob', payload)
    await eve.publish('im/rpc/messages.history', payload)
    await eve.publish('im/to/u/bob/read', payload)
  }
  await eve.publish('im/rpc/messages.history', '{"rid":"1","conv":"d:bob:eve","limit":"10"}')
  await eve.publish('im/rpc/messages.history', '{"rid":"1","conv":"d:bob:eve","after":-1}')
  await eve.publish('im/rpc/groups.create', '{"rid":"../..","gid":"g1","name":"x","members":[]}')
  await eve.publish('im/rpc/constructor', '{"rid":"1"}')
  await eve.publish('im/rpc/__proto__', '{"rid":"1"}')
  await bystander.check(t, 'JSON bombs and numbers as strings')
  t.equal(await Promise.race([closed, eve.ping().then(() => 'open')]), 'open', 'and none of it closed the connection')

  const { client: thief } = await RawClient.connect(t, server.mqttPort, { user: 'thief', clientId: 'bad', clean: true })
  await thief.ping()
  await eve.ping()
  await bystander.check(t, 'a client id of another user')

  for (let i = 1; i <= 5000; i++) {
    eve.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x', qos: 2, dup: false, retain: false, messageId: i })
  }
  for (let i = 1; i <= 5000; i++) await eve.packets.take(p => p.cmd === 'pubrec' && p.messageId === i)
  await bystander.check(t, 'a flood of unfinished QoS 2 messages')
})

await t.test('WebSocket', async t => {
  const server = await startServer(t, { config })
  const bystander = await Bystander.of(t, server)
  const open = async (protocols: string[], options: WebSocket.ClientOptions = {}, path = server.wsUrl): Promise<{ socket: WebSocket, opened: boolean }> => {
    const socket = new WebSocket(path, protocols, options)
    t.teardown(() => { socket.terminate() })
    const opened = await new Promise<boolean>(resolve => {
      socket.once('open', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    // Errors after the opening are the server's refusals; `close` follows.
    socket.on('error', () => socket.terminate())
    return { socket, opened }
  }
  t.notOk((await open(['chat'])).opened, 'a wrong subprotocol [MQTT-6.0.0-3]')
  await bystander.check(t, 'a wrong subprotocol')
  t.notOk((await open(['mqtt'], { origin: 'http://evil.example' })).opened, 'a foreign Origin')
  await bystander.check(t, 'a foreign Origin')
  t.notOk((await open(['mqtt'], {}, server.wsUrl.replace('/mqtt', '/other'))).opened, 'a wrong path')
  for (const [name, send] of [
    ['a text frame [MQTT-6.0.0-1]', (socket: WebSocket) => { socket.send('hello') }],
    ['a text frame with a CONNECT', (socket: WebSocket) => { socket.send(hello().toString('latin1')) }],
    ['an oversized frame', (socket: WebSocket) => { socket.send(Buffer.alloc(2_000_000)) }],
    ['a CONNECT and a text frame', (socket: WebSocket) => { socket.send(hello()); socket.send('hello') }],
    ['a bad packet', (socket: WebSocket) => { socket.send(Buffer.from([0xc0, 0])) }],
    ['silence', () => {}]
  ] as Array<[string, (socket: WebSocket) => void]>) {
    const { socket, opened } = await open(['mqtt'])
    t.ok(opened, name)
    const closed = new Promise<void>(resolve => { socket.once('close', () => resolve()) })
    send(socket)
    await within(closed, 5000, name).then(() => t.pass(name), (cause: Error) => t.fail(cause.message))
    await bystander.check(t, name)
  }
  const { opened, socket } = await open(['mqttv3.1', 'mqtt'])
  t.ok(opened)
  t.equal(socket.protocol, 'mqtt')
})

await t.test('memory is back after all of it, again and again', async t => {
  const server = await startServer(t, { config })
  const bystander = await Bystander.of(t, server)
  const round = async (): Promise<void> => {
    for (const [, bytes] of beforeConnect) {
      const client = await RawClient.open(t, server.mqttPort)
      client.write(bytes)
      await within(client.closed, 5000, 'the close')
    }
    for (const [, bytes] of afterConnect) {
      const { client } = await RawClient.connect(t, server.mqttPort, { user: 'eve' })
      client.write(bytes)
      await within(client.closed, 5000, 'the close')
    }
    const big = await RawClient.open(t, server.mqttPort)
    big.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]))
    big.write(Buffer.alloc(20_000_000))
    await big.closed
  }
  await round()
  await bystander.check(t, 'round 1')
  const baseline = server.rssBytes()
  for (let i = 2; i <= 5; i++) await round()
  await bystander.check(t, 'round 5')
  const grown = server.rssBytes() - baseline
  t.comment(`RSS grew by ${(grown / 1e6).toFixed(1)} MB in four rounds`)
  t.ok(grown < 40e6, 'the memory is near the baseline')
})
