/** A Redis Cluster, and a Redis that Sentinel watches: processes of Debian's redis-server on ports of their own. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from './mailbox.ts'
import { run } from './server.ts'
import { requireTool } from './tools.ts'

export interface Topology {
  /** For `cluster.redis`. */
  readonly url: string
  /** `kill -9` of a master; resolves when another one has taken its place. */
  failOver (): Promise<void>
}

interface Node { readonly port: number, readonly child: ChildProcess }

/** A cluster's nodes talk to each other 10,000 ports above. */
async function lowPort (): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 15_000)
    const probes = [createServer(), createServer()] as const
    try {
      for (const [i, probe] of probes.entries()) {
        probe.listen(port + 10_000 * i, '127.0.0.1')
        await once(probe, 'listening')
      }
      return (probes[0].address() as AddressInfo).port
    } catch (error) {
      // Taken: another one.
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    } finally {
      for (const probe of probes) if (probe.listening) probe.close()
    }
  }
}

async function command (port: number, name: string, ...args: string[]): Promise<string> {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 0, commandTimeout: 1_000, retryStrategy: () => null })
  client.on('error', () => { /* told by the command that fails */ })
  try {
    return String(await client.call(name, ...args))
  } catch (error) {
    return `failed: ${(error as Error).message}`
  } finally {
    client.disconnect()
  }
}

async function node (t: Test, args: (folder: string) => string[]): Promise<Node> {
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-redis-'))
  const port = await lowPort()
  const child = spawn('redis-server', [...args(folder), '--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''], { stdio: 'ignore' })
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  })
  await until(async () => await command(port, 'PING') === 'PONG', 10_000, 'redis-server')
  return { port, child }
}

/** Three masters with a replica each; `undefined` when this machine has no Redis. */
export async function redisCluster (t: Test): Promise<Topology | undefined> {
  if (!requireTool(t, 'redis-server') || !requireTool(t, 'redis-cli')) return undefined
  const nodes: Node[] = []
  for (let i = 0; i < 6; i++) nodes.push(await node(t, () => ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', '--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0', '--appendonly', 'no']))
  const { code, stdout } = await run('redis-cli', ['--cluster', 'create', ...nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-replicas', '1', '--cluster-yes'])
  if (code !== 0) throw new Error(stdout)
  await until(async () => (await Promise.all(nodes.map(({ port }) => command(port, 'CLUSTER', 'INFO')))).every(info => info.includes('cluster_state:ok')), 20_000, 'the cluster')
  // One that has nothing yet takes nobody's place.
  await until(async () => (await Promise.all(nodes.map(({ port }) => command(port, 'INFO', 'replication')))).filter(info => info.includes('master_link_status:up')).length === 3, 20_000, 'the replicas')
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    async failOver () {
      const [first, ...rest] = nodes as [Node, ...Node[]]
      first.child.kill('SIGKILL')
      await until(async () => {
        const [info, list] = [await command(rest[0]?.port ?? 0, 'CLUSTER', 'INFO'), await command(rest[0]?.port ?? 0, 'CLUSTER', 'NODES')]
        return info.includes('cluster_state:ok') && new RegExp(`:${first.port}@.*master,fail `).test(list)
      }, 30_000, 'the replica as master')
    }
  }
}

/** A master, a replica and a Sentinel that is enough by itself; `undefined` when this machine has no Redis. */
export async function redisSentinel (t: Test): Promise<Topology | undefined> {
  if (!requireTool(t, 'redis-server')) return undefined
  const master = await node(t, () => ['--appendonly', 'no'])
  const replica = await node(t, () => ['--appendonly', 'no', '--replicaof', '127.0.0.1', String(master.port)])
  await until(async () => (await command(replica.port, 'INFO', 'replication')).includes('master_link_status:up'), 10_000, 'the replica')
  const sentinel = await node(t, folder => {
    const file = join(folder, 'sentinel.conf')
    writeFileSync(file, `sentinel monitor chat 127.0.0.1 ${master.port} 1\nsentinel down-after-milliseconds chat 500\nsentinel failover-timeout chat 5000\n`)
    return [file, '--sentinel']
  })
  await until(async () => (await command(sentinel.port, 'SENTINEL', 'REPLICAS', 'chat')).includes(String(replica.port)), 15_000, 'the Sentinel to know the replica')
  return {
    url: `redis+sentinel://127.0.0.1:${sentinel.port}/chat`,
    async failOver () {
      master.child.kill('SIGKILL')
      await until(async () => (await command(replica.port, 'INFO', 'replication')).includes('role:master'), 30_000, 'the replica as master')
    }
  }
}
