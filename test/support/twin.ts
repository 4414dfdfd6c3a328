/** One server of a test as two that work as one: of the connections that come, each goes to the other one than that before it. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import root from 'tap'
import type { Test } from 'tap'
import { merge } from './configs.ts'
import type { RedisServer } from './redis.ts'
import { startRedis } from './redis.ts'
import type { Server, ServerOptions } from './server-shape.ts'

/** `SABETHES_TEST_CLUSTER=1`: the full servers of a test file that are on MongoDB are two each. */
export const clustered = process.env.SABETHES_TEST_CLUSTER === '1'

let redis: Promise<RedisServer | undefined> | undefined
let namespaces = 0

/** What its two servers have in common beside the database. */
export async function inCluster (): Promise<Record<string, unknown>> {
  redis ??= startRedis(root)
  const server = await redis
  if (server === undefined) throw new Error('SABETHES_TEST_CLUSTER needs redis-server')
  return { cluster: { redis: server.url, namespace: `test${++namespaces}` } }
}

export async function twin (t: Test, options: ServerOptions, config: Record<string, unknown>, start: (t: Test, options: ServerOptions, config: Record<string, unknown>) => Promise<Server>): Promise<Server> {
  const shared = merge(config, await inCluster())
  const one = await start(t, options, shared)
  const two = await start(t, { ...options, data: `${one.data}-2` }, shared)
  const both = [one, two] as const
  const mqtt = await inTurns(t, both.map(({ mqttPort }) => mqttPort))
  const http = await inTurns(t, both.map(({ httpPort }) => httpPort))
  return {
    get pid () { return one.pid },
    mqttPort: mqtt,
    httpPort: http,
    url: `mqtt://127.0.0.1:${mqtt}`,
    wsUrl: `ws://127.0.0.1:${http}/mqtt`,
    data: one.data,
    database: one.database,
    configPath: one.configPath,
    logs: () => one.logs() + two.logs(),
    running: () => one.running() && two.running(),
    ended: () => one.ended(),
    exitCode: () => one.exitCode(),
    kill9: async () => { await Promise.all(both.map(server => server.kill9())) },
    stop: async () => Math.max(...await Promise.all(both.map(server => server.stop()))),
    restart: async () => { await Promise.all(both.map(server => server.restart())) },
    rssBytes: () => Math.max(...both.map(server => server.rssBytes()))
  }
}

/** The port of something that hands connections on to these ports, in turns; what cannot be reached closes them. */
export async function inTurns (t: Test, ports: readonly number[]): Promise<number> {
  const sockets = new Set<Socket>()
  let turn = 0
  const server = createServer({ allowHalfOpen: true, noDelay: true }, client => {
    const inner = connect({ port: ports[turn++ % ports.length] as number, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    for (const [from, to] of [[client, inner], [inner, client]] as const) {
      sockets.add(from)
      from.on('error', () => { to.destroy() })
      from.on('close', hadError => {
        sockets.delete(from)
        if (hadError || !from.readableEnded) to.destroy()
      })
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}
