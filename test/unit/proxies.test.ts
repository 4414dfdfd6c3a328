/** PROXY headers and X-Forwarded-For: who is believed, and what. */
import { once } from 'node:events'
import { createServer as createHttp, get } from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { expectProxyHeaders, Proxies, readProxyHeader, trustForwarded } from '../../broker/gateway/listener/proxies.ts'

const signature = '\r\n\r\n\0\r\nQUIT\n'
const binary = (command: number, family: number, addresses: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from(signature, 'latin1'), Buffer.from([command, family, addresses.length >> 8, addresses.length & 255]), Buffer.from(addresses)])
const v4 = binary(0x21, 0x11, [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 7, 0x5b])
const v6 = binary(0x21, 0x21, [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7, ...Array<number>(16).fill(1), 1, 2, 3, 4])

await t.test('headers', t => {
  t.same(readProxyHeader(Buffer.from('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883\r\nrest')), { bytes: 44, address: '203.0.113.9' })
  t.same(readProxyHeader(Buffer.from('PROXY TCP6 2001:db8::7 ::1 1 2\r\n')), { bytes: 32, address: '2001:db8::7' })
  t.same(readProxyHeader(Buffer.from('PROXY UNKNOWN\r\n')), { bytes: 15, address: undefined })
  t.same(readProxyHeader(Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n')), { bytes: 35, address: undefined })
  t.same(readProxyHeader(v4), { bytes: 28, address: '203.0.113.9' })
  t.same(readProxyHeader(v6), { bytes: 52, address: '2001:db8:0:0:0:0:0:7' })
  t.same(readProxyHeader(Buffer.concat([binary(0x21, 0x11, [203, 0, 113, 9, 10, 0, 0, 1, 0, 1, 0, 2, 0x20, 0, 1, 5]), Buffer.from('MQTT')])), { bytes: 32, address: '203.0.113.9' }, 'further fields are passed over')
  t.same(readProxyHeader(binary(0x20, 0, [])), { bytes: 16, address: undefined }, 'the proxy itself: a health check')
  t.same(readProxyHeader(binary(0x21, 0x31, Array<number>(216).fill(0))), { bytes: 232, address: undefined }, 'a socket of Unix has no address')
  for (const wrong of ['GET / HTTP/1.1\r\n\r\n', '\x10\x0c\x00\x04MQTT', 'PROXY TCP4 203.0.113.9 10.0.0.1 12345\r\n', 'PROXY TCP4 ::1 ::1 1 2\r\n', 'PROXY TCP4 203.0.113.9 10.0.0.1 99999 1\r\n', 'PROXY TCP5 a b 1 2\r\n', 'PROXY \r\n', `PROXY ${'x'.repeat(120)}\r\n`]) {
    t.equal(readProxyHeader(Buffer.from(wrong, 'latin1')), 'wrong', JSON.stringify(wrong))
  }
  t.equal(readProxyHeader(binary(0x11, 0x11, [])), 'wrong', 'another version')
  t.equal(readProxyHeader(binary(0x21, 0x11, [1, 2, 3])), 'wrong', 'too short for an address')
  t.equal(readProxyHeader(Buffer.concat([v4.subarray(0, 14), Buffer.from([0xff, 0xff])])), 'wrong', 'longer than anybody needs')
  for (const whole of [v4, v6, Buffer.from('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883\r\n')]) {
    for (let length = 0; length < whole.length; length++) t.equal(readProxyHeader(whole.subarray(0, length)), 'more')
  }
  t.end()
})

await t.test('who is listed', t => {
  const proxies = new Proxies(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'])
  t.same(['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '192.0.2.8', '2001:db8::1', '2001:db9::1', '', undefined, 'x'].map(address => proxies.has(address)), [true, true, true, false, true, false, false, false, false])
  const from = (value: string): string | undefined => proxies.forwardedFor({ headers: { 'x-forwarded-for': value } })
  t.equal(from('203.0.113.9'), '203.0.113.9')
  t.equal(from('8.8.8.8, 203.0.113.9, 10.0.0.5'), '203.0.113.9', 'what comes before the last one that is no proxy, anybody may have written')
  t.equal(from('[2001:db9::5]'), '2001:db9::5')
  t.equal(from('10.0.0.5, 10.0.0.6'), undefined)
  t.equal(from('203.0.113.9, unknown, 10.0.0.6'), undefined)
  t.equal(from(''), undefined)
  t.equal(proxies.forwardedFor({ headers: {} }), undefined)
  t.end()
})

async function listening (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

await t.test('a connection behind a header', async t => {
  const refusals: string[] = []
  const server = createServer(socket => {
    socket.on('data', (chunk: Buffer) => { socket.write(`${socket.remoteAddress ?? ''}:${chunk.toString()}`) })
  })
  expectProxyHeaders(server, { proxies: new Proxies(['127.0.0.1']), timeoutMs: 300, refused: (_address, reason) => { refusals.push(reason) } })
  const port = await listening(t, server)
  const talk = async (...parts: Array<string | Buffer>): Promise<string> => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    await once(socket, 'connect')
    socket.setNoDelay(true)
    for (const part of parts) {
      socket.write(part)
      await new Promise(resolve => { setImmediate(resolve) })
    }
    const [said] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [''])]) as [Buffer | string]
    return said.toString()
  }
  t.equal(await talk(Buffer.concat([v4, Buffer.from('hello')])), '203.0.113.9:hello', 'in one piece')
  t.equal(await talk(...[...v4].map(byte => Buffer.from([byte])), 'h'), '203.0.113.9:h', 'byte by byte')
  t.equal(await talk('PROXY UNKNOWN\r\n', 'x'), '127.0.0.1:x')
  t.equal(await talk('hello'), '')
  t.equal(await talk('PROXY TCP4 '), '')
  t.same(refusals, ['it does not begin with a PROXY header', 'its PROXY header does not come'])
})

await t.test('nobody else may come', async t => {
  const refusals: string[] = []
  const server = createServer(() => { t.fail('taken') })
  expectProxyHeaders(server, { proxies: new Proxies(['192.0.2.1']), timeoutMs: 300, refused: (address, reason) => { refusals.push(`${address} ${reason}`) } })
  const socket = connect(await listening(t, server), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'close')
  t.same(refusals, ['127.0.0.1 it is not among the listed proxies'])
})

await t.test('HTTP behind a header, and by X-Forwarded-For', async t => {
  const answer = createHttp((request, response) => { response.end(request.socket.remoteAddress) })
  expectProxyHeaders(answer, { proxies: new Proxies(['127.0.0.1']), timeoutMs: 1_000, refused: () => {} })
  const port = await listening(t, answer)
  const socket: Socket = connect(port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.write(Buffer.concat([v4, Buffer.from('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab')]))
  let said = ''
  while (!said.endsWith('203.0.113.9')) said += String((await once(socket, 'data') as [Buffer])[0])
  t.match(said, /^HTTP\/1\.1 200 OK/)

  const proxies = new Proxies(['127.0.0.1'])
  const plain = createHttp((request, response) => {
    trustForwarded(proxies, request)
    response.end(request.socket.remoteAddress)
  })
  const plainPort = await listening(t, plain)
  const ask = async (headers: Record<string, string>): Promise<string> => {
    const request = get({ port: plainPort, host: '127.0.0.1', headers })
    const [response] = await once(request, 'response') as [NodeJS.ReadableStream]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    return text
  }
  t.equal(await ask({ 'x-forwarded-for': '203.0.113.9' }), '203.0.113.9')
  t.equal(await ask({}), '127.0.0.1', 'also on a connection that spoke for another one before')
})
