/** `sabethes serve`: starts the server, says where it is, stops it gracefully. */
import { envName } from '../config/keys.ts'
import { flagOf } from '../config/flag-source.ts'
import type { Config } from '../config/schema.ts'
import { banner } from './banner.ts'
import { located } from './plugin-problems.ts'
import type { RunningServer } from './server-module.ts'
import { strayExitCode, watchStrays } from './strays.ts'
import { settings, type CommonOptions } from './settings.ts'
import { dataFolder } from './target.ts'
import { CommandError, print, say, type Terminal } from './terminal.ts'
import { packageVersion } from '../version.ts'

/**
 * A signal this soon after the first is the same wish, sent twice: Ctrl-C under `npm start` arrives from the terminal and
 * from npm, and `timeout` signals its child and the child's group.
 */
const echoMs = 500

/** The exit code after the store failed for good; EX_IOERR of sysexits.h. */
const storeLostCode = 74

/** Resolves to the exit code: 0 after a graceful stop, 1 when it had to be forced; when the server ended by itself, 70 after an exception that nobody caught, 74 after its store failed. */
export async function serve (terminal: Terminal, options: CommonOptions): Promise<number> {
  const loaded = await settings(terminal, options)
  const { config: given } = loaded
  const data = dataFolder(terminal, given)
  const config = { ...given, store: { ...given.store, path: data } }
  const stop = stopSignals(terminal)
  const strays = watchStrays(terminal)
  try {
    const { startServer } = await terminal.loadServer()
    let server: RunningServer | number
    try {
      server = await Promise.race([startServer(config), stop.second.then(() => 1), strays.fatal.then(() => strayExitCode)])
    } catch (error) {
      throw located(startFailure(error, config), loaded)
    }
    if (typeof server === 'number') return server
    strays.use(server)
    const version = packageVersion()
    print(terminal, options.json, { event: 'started', version, pid: process.pid, mode: config.auth.mode, addresses: server.addresses, data },
      banner(config, server.addresses, version, data))
    const strayed = strays.fatal.then(() => undefined)
    const ends = [strayed, server.failed]
    const first = await Promise.race([stop.first, drained(server), ...ends])
    const cause = typeof first === 'string' ? await moved(server, first, stop.second, ends) : first
    if (cause === null) {
      say(terminal, 'a second signal: ended at once')
      return 1
    }
    const lost = cause instanceof Error
    say(terminal, lost ? `${cause.message}: stopping` : cause === undefined ? 'an exception that nobody caught: stopping' : `${cause}: stopping`)
    const code = await graceful(terminal, server, lost ? stop.first : stop.second, config.shutdown.timeoutMs)
    return lost ? storeLostCode : strays.failed ? strayExitCode : code
  } finally {
    strays.release()
    stop.release()
  }
}

/** An operator had the clients go to other servers. */
async function drained (server: RunningServer): Promise<string> {
  await (server.drained ?? new Promise(() => {}))
  return 'drained'
}

/** Clients go to other servers first, where there are some. Resolves to why the server stops, which may be what ended it meanwhile; `null`: the second signal came. */
async function moved (server: RunningServer, cause: string, second: Promise<string>, ends: Array<Promise<Error | undefined>>): Promise<string | Error | undefined | null> {
  if (server.drain === undefined) return cause
  const gone = server.drain().then(() => cause, (error: unknown) => `${cause}, and the clients could not be moved (${(error as Error).message})`)
  return await Promise.race([gone, second.then(() => null), ...ends])
}

async function graceful (terminal: Terminal, server: RunningServer, second: Promise<string>, timeoutMs: number): Promise<number> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>(resolve => { timer = setTimeout(() => { resolve(`not stopped after ${timeoutMs} ms`) }, timeoutMs) })
  const closed = server.close().then(() => undefined, (error: unknown) => `the stop failed: ${(error as Error).message}`)
  try {
    const forced = await Promise.race([closed, late, second.then(signal => `${signal} again`)])
    if (forced === undefined) return 0
    say(terminal, `${forced}: ended at once`)
    return 1
  } finally {
    clearTimeout(timer)
  }
}

/** The first and the second SIGINT or SIGTERM. A signal during the start is kept until the server is up. */
function stopSignals ({ signals, now }: Terminal): { first: Promise<string>, second: Promise<string>, release (): void } {
  let one: (signal: string) => void = () => {}
  let two: (signal: string) => void = () => {}
  const first = new Promise<string>(resolve => { one = resolve })
  const second = new Promise<string>(resolve => { two = resolve })
  let firstAt: number | undefined
  const listeners = (['SIGINT', 'SIGTERM'] as const).map(signal => {
    const listener = (): void => {
      if (firstAt === undefined) {
        firstAt = now()
        one(signal)
      } else if (now() - firstAt >= echoMs) two(signal)
    }
    signals.on(signal, listener)
    return () => { signals.off(signal, listener) }
  })
  return { first, second, release: () => { for (const remove of listeners) remove() } }
}

/** The error of a start, as one line that names the key to change. */
export function startFailure (error: unknown, config: Config): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, address, port } = cause as NodeJS.ErrnoException & { address?: string, port?: number }
    if (cause.name === 'StoreLockedError' || code === 'LEVEL_LOCKED') {
      return new CommandError(`another server uses the data folder ${config.store.path}: stop it, or choose another one with ${ways('store.path')}`, 1, { cause: error })
    }
    if (code === undefined || port === undefined) continue
    const listener = port === config.http.port && port !== config.mqtt.tcp.port ? 'http' : 'mqtt.tcp'
    const keyOfPort = port === config.http.port && port === config.mqtt.tcp.port ? 'mqtt.tcp.port and http.port differently' : ways(`${listener}.port`)
    const where = `${address === undefined ? '' : address + ':'}${port}`
    const text = new Map([
      ['EADDRINUSE', `${where} is in use: stop what listens there, or set ${keyOfPort}`],
      ['EACCES', `this user may not listen on ${where}: set ${keyOfPort} to 1024 or more`],
      ['EADDRNOTAVAIL', `${address} is not an address of this machine: set ${ways(`${listener}.host`)}`]
    ]).get(code)
    if (text !== undefined) return new CommandError(text, 1, { cause: error })
  }
  if ((error as NodeJS.ErrnoException).code === 'ENOTFOUND') {
    return new CommandError(`${(error as { hostname?: string }).hostname ?? 'the host'} is not a known name: set mqtt.tcp.host or http.host`, 1, { cause: error })
  }
  return error
}

function ways (path: string): string {
  const flag = flagOf(path)
  return `${path} (${flag === undefined ? '' : `${flag}, `}${envName(path)})`
}
