/** The topology of docker-compose.yml, each process started by hand: MongoDB's stand-in, Redis, two servers, HAProxy in front of them with its own configuration. */
import t from 'tap'
import { startCluster } from '../support/cluster.ts'
import { haproxyProgram, startHaproxy } from '../support/haproxy.ts'
import { until } from '../support/mailbox.ts'
import { Device } from '../support/mqtt.ts'

t.setTimeout(240_000)
const program = haproxyProgram(t)
const cluster = program === undefined ? undefined : await startCluster(t, 2, { redis: { args: ['--maxmemory-policy', 'noeviction'] } })

/** A client that comes back by itself, over TCP or WebSocket. */
async function client (url: string, user: string): Promise<{ device: Device, closes: () => number, got: string[], present: boolean[] }> {
  const device = new Device(url, { user, clientId: 'phone', clean: false, options: { reconnectPeriod: 100, connectTimeout: 5_000 } })
  let closes = 0
  const got: string[] = []
  device.client.on('close', () => { closes++ })
  device.onMessage = ({ topic, text }) => {
    const { from, body } = JSON.parse(text) as { from: string, body: string }
    // Its own messages come, too.
    if (topic.endsWith('/inbox') && from !== user) got.push(body)
    return true
  }
  const present: boolean[] = []
  device.client.on('connect', ({ sessionPresent }) => { present.push(sessionPresent) })
  await device.connected()
  await device.subscribe(`im/u/${user}/inbox`)
  return { device, closes: () => closes, got, present }
}

if (program !== undefined && cluster !== undefined) {
  const { servers } = cluster
  const proxy = await startHaproxy(t, program, servers)

  await t.test('one server after the other is stopped and started again: a reconnect is all that is noticed', async t => {
    const pairs = 4
    const users = Array.from({ length: 2 * pairs }, (_, i) => `user${i}`)
    const clients = await Promise.all(users.map((user, i) => client(i % 2 === 0 ? proxy.url : proxy.wsUrl, user)))
    t.teardown(async () => { await Promise.all(clients.map(({ device }) => device.client.endAsync(true))) })
    const load = { going: true }
    const senders = clients.map(async ({ device }, i) => {
      let count = 0
      const to = users[(i + 1) % users.length] ?? ''
      while (load.going) {
        await device.client.publishAsync(`im/to/u/${to}`, `${users[i]} ${++count}`, { qos: 1 })
      }
      return count
    })
    for (const [i, server] of servers.entries()) {
      const returns = proxy.returns(i + 1)
      const before = clients.reduce((sum, { closes }) => sum + closes(), 0)
      await server.stop()
      await until(() => clients.every(({ device }) => device.client.connected), 40_000, `all go on without server ${i + 1}`)
      t.ok(clients.reduce((sum, { closes }) => sum + closes(), 0) > before, 'some of them had to')
      await server.restart()
      await until(() => proxy.returns(i + 1) > returns, 30_000, 'HAProxy finds it back')
    }
    load.going = false
    const counts = await Promise.all(senders)
    t.comment(`${counts.reduce((sum, count) => sum + count, 0)} messages, reconnects: ${clients.map(({ closes }) => closes()).join(' ')}`)
    for (const [i, { got, closes, present }] of clients.entries()) {
      const from = (i + users.length - 1) % users.length
      const wanted = Array.from({ length: counts[from] ?? 0 }, (_, n) => `${users[from]} ${n + 1}`)
      await until(() => new Set(got).size === wanted.length, 20_000, `all for ${users[i]}`)
      // What was not acknowledged when the connection ended comes again.
      t.same([...new Set(got)], wanted, `in order, each of them, to ${users[i]}`)
      t.ok(closes() <= 3, 'few reconnects')
      t.same(present, [false, ...present.slice(1).map(() => true)], `the session of ${users[i]} goes on`)
    }
  })

  await t.test('HTTP goes to a server that is ready', async t => {
    t.equal((await fetch(`http://127.0.0.1:${proxy.httpPort}/v1/entry`)).status, 200)
    await servers[0]?.stop()
    for (let i = 0; i < 10; i++) t.equal((await fetch(`http://127.0.0.1:${proxy.httpPort}/readyz`)).status, 200)
  })
}
