/** HAProxy with the repository's own configuration, in front of servers of a test. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'
import { Daemon } from './daemon.ts'
import { packageRoot } from './package-root.ts'
import { freePort } from './ports.ts'
import type { Server } from './server.ts'
import { absent } from './tools.ts'

/** The program; undefined when this machine has none: the test was then skipped aloud (failed when `CI` is set). */
export function haproxyProgram (t: Test): string | undefined {
  // Debian keeps it where only administrators' PATH leads.
  const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].map(folder => join(folder, 'haproxy')).find(existsSync)
  if (path === undefined) absent(t, "the program 'haproxy' is not installed")
  return path
}

export interface Haproxy {
  /** `mqtt://127.0.0.1:…` */
  readonly url: string
  /** `ws://127.0.0.1:…/mqtt` */
  readonly wsUrl: string
  readonly httpPort: number
  /** How often it found the MQTT port of this server (1, 2) to be back. */
  returns (server: number): number
}

/** Starts it with config/haproxy.cfg, but for addresses: `servers` are its server-1, server-2. Ends with the test. */
export async function startHaproxy (t: Test, program: string, servers: ReadonlyArray<Pick<Server, 'mqttPort' | 'httpPort'>>): Promise<Haproxy> {
  const [mqttPort, httpPort] = [await freePort(), await freePort()]
  let text = readFileSync(new URL('config/haproxy.cfg', packageRoot), 'utf8')
  const replace = (from: string, to: string): void => {
    if (!text.includes(from)) throw new Error(`config/haproxy.cfg has no '${from}'`)
    text = text.replace(from, to)
  }
  replace('bind :1883', `bind 127.0.0.1:${mqttPort}`)
  replace('bind :8080', `bind 127.0.0.1:${httpPort}`)
  // Here each server's port for health checks is another one.
  replace('    default-server port 8080\n', '')
  for (const [i, server] of servers.entries()) {
    const name = `server-${i + 1}`
    replace(` ${name}:1883`, ` 127.0.0.1:${server.mqttPort} port ${server.httpPort}`)
    replace(` ${name}:8080`, ` 127.0.0.1:${server.httpPort}`)
  }
  const returned: string[] = []
  let rest = ''
  const server = new Daemon(t, {
    name: 'haproxy',
    command: folder => {
      const path = join(folder, 'haproxy.cfg')
      writeFileSync(path, text)
      return [program, '-db', '-f', path]
    },
    ready: () => fetch(`http://127.0.0.1:${httpPort}/readyz`).then(({ status }) => status === 200, () => false),
    readyMs: 20_000,
    onOutput: more => {
      const lines = (rest + more).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const back = /mqtt-servers\/server-(\d) is UP/.exec(line)?.[1]
        if (back !== undefined) returned.push(back)
      }
    }
  })
  await server.start()
  return { url: `mqtt://127.0.0.1:${mqttPort}`, wsUrl: `ws://127.0.0.1:${httpPort}/mqtt`, httpPort, returns: server => returned.filter(name => name === String(server)).length }
}
