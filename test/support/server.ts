/** Starts the built server as a process of its own, the way a person would. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { within } from './mailbox.ts'
import { freePort } from './ports.ts'
import { merge } from './configs.ts'
import { databaseOf, inThread, onDatabase, storeChoice } from './store-choice.ts'
import type { Server, ServerOptions } from './server-shape.ts'
import { clustered, twin } from './twin.ts'

export { freePort }

/** The compiled `broker/main.js` of the same build as this file. */
export const mainPath = fileURLToPath(new URL('../../broker/main.js', import.meta.url))

export type { Server, ServerOptions }

/** The environment without settings of a server that the person running the tests may have. */
export function cleanEnv (extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const [key, value] of Object.entries(process.env)) {
    if (!key.startsWith('SABETHES_') && !key.startsWith('TAP') && !key.startsWith('_TAPJS') && key !== 'NODE_OPTIONS') env[key] = value
  }
  return { ...env, ...extra }
}

/** Starts `sabethes serve` and resolves when `GET /readyz` answers 200. It is killed when the test ends. */
export async function startServer (t: Test, options: ServerOptions = {}): Promise<Server> {
  const config = await configured(t, options.config ?? {})
  const isShared = clustered && databaseOf(config) !== undefined && !('cluster' in config) && options.wrapper === undefined
  return isShared ? await twin(t, options, config, startProcess) : await startProcess(t, options, config)
}

async function startProcess (t: Test, options: ServerOptions, config: Record<string, unknown>): Promise<Server> {
  const folder = t.testdir()
  const data = options.data ?? join(folder, 'data')
  mkdirSync(folder, { recursive: true })
  const configPath = join(folder, 'sabethes.yaml')
  writeFileSync(configPath, JSON.stringify(config, null, 2))
  const { mqtt: mqttPort, http: httpPort } = options.ports ?? { mqtt: await freePort(), http: await freePort() }
  let child: ChildProcess | undefined
  let log = ''

  // A wrapper that is killed may leave the server alone: the signal goes to the server, and the wrapper ends with it.
  const kill = (signal: NodeJS.Signals): void => {
    const pid = child?.pid ?? 0
    const inner = options.wrapper === undefined ? '' : readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0] ?? ''
    process.kill(inner === '' ? pid : Number(inner), signal)
  }
  const gone = (process: ChildProcess): boolean => process.exitCode !== null || process.signalCode !== null
  const start = async (): Promise<void> => {
    const serve = [process.execPath, options.main?.() ?? mainPath, 'serve', '--config', configPath, '--data', data,
      '--mqtt-port', String(mqttPort), '--http-port', String(httpPort), ...options.args ?? []]
    const [program = '', ...args] = [...options.wrapper ?? [], ...serve]
    const started = spawn(program, args, { cwd: folder, env: cleanEnv(options.env), stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    started.stdout.setEncoding('utf8').on('data', (text: string) => { log += text })
    started.stderr.setEncoding('utf8').on('data', (text: string) => { log += text })
    const deadline = Date.now() + 90_000
    while (!await ready(httpPort)) {
      if (gone(started)) throw new Error(`the server ended (${started.exitCode ?? started.signalCode}) before it was ready:\n${log.slice(-4000)}`)
      if (Date.now() > deadline) throw new Error(`not ready within 90 s:\n${log.slice(-4000)}`)
      await new Promise(resolve => setTimeout(resolve, 25))
    }
  }
  const end = async (signal: NodeJS.Signals, timeoutMs: number): Promise<{ code: number | null, signal: NodeJS.Signals | null, tookMs: number }> => {
    const ending = child
    if (ending === undefined || gone(ending)) throw new Error(`the server is not running:\n${log.slice(-2000)}`)
    const began = Date.now()
    const exited = once(ending, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
    kill(signal)
    const [code, by] = await within(exited, timeoutMs, `the server's exit after ${signal}`)
    return { code, signal: by, tookMs: Date.now() - began }
  }

  t.teardown(async () => {
    const last = child
    if (last !== undefined && !gone(last)) {
      const exited = once(last, 'exit')
      kill('SIGKILL')
      await exited
    }
    if (!t.passing()) t.comment(`the server's last words:\n${log.slice(-3000)}`)
  })
  await start()
  return {
    get pid () { return child?.pid ?? 0 },
    mqttPort,
    httpPort,
    url: `mqtt://127.0.0.1:${mqttPort}`,
    wsUrl: `ws://127.0.0.1:${httpPort}/mqtt`,
    data,
    database: databaseOf(config),
    configPath,
    logs: () => log,
    running: () => child !== undefined && !gone(child),
    ended: async () => {
      const ending = child
      if (ending === undefined || gone(ending)) return ending?.exitCode ?? null
      const [code] = await within(once(ending, 'exit') as Promise<[number | null]>, 10_000, "the server's own end")
      return code
    },
    exitCode: () => child?.exitCode ?? null,
    kill9: async () => { await end('SIGKILL', 10_000) },
    stop: async () => {
      const { code, signal, tookMs } = await end('SIGTERM', 10_000)
      if (code !== 0) throw new Error(`exit ${code ?? signal} after SIGTERM:\n${log.slice(-2000)}`)
      return tookMs
    },
    restart: start,
    rssBytes: () => {
      const status = readFileSync(`/proc/${child?.pid ?? 0}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? NaN) * 1024
    }
  }
}

/** The configuration with the store that the environment asks for. */
async function configured (t: Test, wish: Record<string, unknown>): Promise<Record<string, unknown>> {
  const config = inThread ? merge({ engine: { thread: true } }, wish) : wish
  const named = (config['store'] as { driver?: string } | undefined)?.driver
  if (storeChoice === 'level' || named !== undefined) return config
  // Only here: the driver takes time to load.
  const { freshDatabase } = await import('./mongodb.ts')
  return onDatabase(config, await freshDatabase(t))
}

async function ready (port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2000) })
    await answer.arrayBuffer()
    return answer.status === 200
  } catch (cause) {
    // Not listening yet, or no answer yet: the caller asks again until its deadline.
    if (cause instanceof Error) return false
    throw cause
  }
}

export interface Exit { code: number | null, stdout: string, stderr: string }

/** Runs a program to its end. Rejects after `timeoutMs`. */
export async function run (program: string, args: string[], options: { input?: string, env?: Record<string, string>, cwd?: string, timeoutMs?: number } = {}): Promise<Exit> {
  const child = spawn(program, args, { env: cleanEnv(options.env), cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  // A program that ends without reading its input is no failure of the caller.
  child.stdin.on('error', () => child.stdin.destroy())
  child.stdin.end(options.input ?? '')
  const closed = once(child, 'close') as Promise<[number | null]>
  try {
    const [code] = await within(closed, options.timeoutMs ?? 30_000, `${program} ${args.join(' ')}\n${stdout}${stderr}`)
    return { code, stdout, stderr }
  } catch (cause) {
    child.kill('SIGKILL')
    throw cause
  }
}

/** Runs `sabethes …` of this build. */
export async function cli (args: string[], options: Parameters<typeof run>[2] = {}): Promise<Exit> {
  return await run(process.execPath, [mainPath, ...args], options)
}
