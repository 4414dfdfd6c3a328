/**
 * A server in a network namespace of its own: what it has of Redis and of MongoDB comes over a link each, which can be cut. A link that is down drops packets, and says so
 * to nobody. Its clients are not cut off. Linux, as root, with `ip`.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Cluster } from './cluster.ts'
import { handOn } from './hand-on.ts'
import { freePort } from './ports.ts'
import type { Server } from './server.ts'
import { absent, requireTool } from './tools.ts'

export type LinkName = 'redis' | 'mongodb'

export interface CutOff {
  readonly server: Server
  /** Packets of these links are dropped from now on, both ways. */
  cut (...links: LinkName[]): void
  heal (): void
}

/** Where Debian has `ip`, which is not on everybody's PATH. */
process.env.PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
let made = 0

function ip (...args: string[]): void { execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] }) }

/** False: this machine makes no namespaces; the test was then skipped aloud (failed when `CI` is set). */
export function canCut (t: Test): boolean {
  const probe = `sab${process.pid}p`
  try {
    ip('netns', 'add', probe)
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause
    // Without the program, or without permission.
    return requireTool(t, 'ip') && absent(t, `no network namespaces here: ${cause.message}`)
  }
  ip('netns', 'del', probe)
  return true
}

/** One more server of the cluster, behind links. Its ports are those of 127.0.0.1, as any server's. */
export async function joinBehindLinks (t: Test, cluster: Cluster): Promise<CutOff> {
  const number = ++made
  const space = `sab${process.pid}n${number}`
  ip('netns', 'add', space)
  t.teardown(() => { ip('netns', 'del', space) })
  ip('-n', space, 'link', 'set', 'lo', 'up')
  const link = async (name: LinkName, i: number, port: number): Promise<{ outer: string, address: string }> => {
    const [outer, inner] = [`s${process.pid}o${number}${i}`, `s${process.pid}i${number}${i}`]
    // Of the range for tests of networks (RFC 2544), in which each process of the tests has a part.
    const at = (last: number): string => `198.18.${process.pid % 250 + 1}.${number % 16 * 16 + i * 4 + last}`
    ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', space)
    ip('addr', 'add', `${at(1)}/30`, 'dev', outer)
    ip('-n', space, 'addr', 'add', `${at(2)}/30`, 'dev', inner)
    ip('link', 'set', outer, 'up')
    ip('-n', space, 'link', 'set', inner, 'up')
    const passage = await handOn({ host: at(1), port: 0 }, { host: '127.0.0.1', port })
    t.teardown(() => { passage.close() })
    return { outer, address: `${at(1)}:${passage.port}` }
  }
  const links = {
    redis: await link('redis', 0, cluster.redis.port),
    mongodb: await link('mongodb', 1, Number(new URL(cluster.mongodb.url).port))
  }
  const ports = { mqtt: await freePort(), http: await freePort() }
  await letClientsIn(t, space, Object.values(ports))
  const server = await cluster.join({
    config: { store: { url: `mongodb://${links.mongodb.address}/` }, cluster: { redis: `redis://${links.redis.address}` } },
    wrapper: ['ip', 'netns', 'exec', space],
    ports
  })
  const set = (names: readonly LinkName[], state: 'up' | 'down'): void => { for (const name of names) ip('link', 'set', links[name].outer, state) }
  return { server, cut: (...names) => { set(names, 'down') }, heal: () => { set(['redis', 'mongodb'], 'up') } }
}

/** Each of these ports of 127.0.0.1 is that of the namespace. */
async function letClientsIn (t: Test, space: string, ports: readonly number[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-cut-'))
  const paths = ports.map(port => join(folder, String(port)))
  const program = fileURLToPath(new URL('hand-on-process.js', import.meta.url))
  const child = spawn('ip', ['netns', 'exec', space, process.execPath, program, ...ports.flatMap((port, i) => [paths[i] as string, String(port)])], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  })
  await once(child.stdout, 'data')
  for (const [i, port] of ports.entries()) {
    const passage = await handOn({ host: '127.0.0.1', port }, { path: paths[i] as string })
    t.teardown(() => { passage.close() })
  }
}
