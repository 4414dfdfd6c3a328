/** Which names a request may call the server by: a web page elsewhere can have its own name lead to this machine. */
import { connect } from 'node:net'
import t from 'tap'
import { hostRule } from '../../broker/http/host-rule.ts'
import { startServer } from '../support/server.ts'

/** The status line of the answer to a request with this Host (and, for an upgrade, the Origin of a page of that host). */
async function status (port: number, path: string, host: string, upgrade: boolean): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const wish = upgrade ? `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\nOrigin: http://${host}\r\n` : ''
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${wish}\r\n`)
  const line = await new Promise<string>((resolve, reject) => {
    socket.once('data', (data: Buffer) => { resolve(data.toString('latin1').split('\r\n', 1)[0] ?? '') })
    socket.once('error', reject)
  })
  socket.destroy()
  return line
}

await t.test('on loopback', async t => {
  const allowed = hostRule('127.0.0.1', ['chat.example.com'])
  for (const host of [undefined, 'localhost', 'LocalHost:8080', 'localhost.', 'app.localhost:1', '127.0.0.1', '127.8.9.1:80', '[::1]', '[::1]:8080', 'chat.example.com', 'CHAT.example.com:443']) {
    t.ok(allowed(host), String(host))
  }
  for (const host of ['', 'evil.example', 'evil.example:8080', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil@127.0.0.1', 'chat.example.com.evil', '192.168.1.1', '0.0.0.0', '[::2]', '127.0.0.1:80:80', 'localhost/', '::1']) {
    t.notOk(allowed(host), host)
  }
  t.ok(hostRule('localhost', ['*'])('evil.example'))
})

await t.test('elsewhere any name is right, unless some are named', async t => {
  t.ok(hostRule('0.0.0.0', [])('chat.example.com'))
  const allowed = hostRule('192.0.2.1', ['chat.example.com'])
  t.ok(allowed('chat.example.com'))
  t.ok(allowed('192.0.2.1:8080'))
  for (const host of ['192.0.2.9:9001', '[2001:db8::1]', '[2001:db8::1]:9001']) t.ok(allowed(host), `${host}: load balancers ask by address, and no name leads a page there`)
  for (const host of ['evil.example', '192.0.2.9.evil.example', '1.2.3', '0x7f.1']) t.notOk(allowed(host), host)
})

await t.test('a foreign Host with the same Origin is let in nowhere', async t => {
  const server = await startServer(t, { config: { http: { hosts: ['chat.example.com'] } } })
  for (const host of ['evil.example', `evil.example:${server.httpPort}`]) {
    for (const path of ['/healthz', '/readyz', '/nothing']) t.equal(await status(server.httpPort, path, host, false), 'HTTP/1.1 403 Forbidden', path)
    t.equal(await status(server.httpPort, '/mqtt', host, true), 'HTTP/1.1 403 Forbidden')
  }
  for (const host of ['localhost', `127.0.0.1:${server.httpPort}`, 'chat.example.com']) {
    t.equal(await status(server.httpPort, '/healthz', host, false), 'HTTP/1.1 200 OK')
    t.equal(await status(server.httpPort, '/mqtt', host, true), 'HTTP/1.1 101 Switching Protocols')
  }
})
