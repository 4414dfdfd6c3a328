/** `sabethes doctor`: what keeps, or would keep, a server from working here. */
import { constants } from 'node:fs'
import { access, mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { ConfiguredStore } from '../migrate/address.ts'
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { findRunning } from './target.ts'
import { columns, print, printable, type Terminal } from './terminal.ts'

export interface DoctorOptions extends CommonOptions { deep?: boolean }
export interface Check { name: string, ok: boolean, text: string }

/** As in package.json. */
const oldestNode = [20, 19] as const
const minFreeBytes = 256 * 1024 * 1024

/** Resolves to the exit code: 1 when anything is wrong. */
export async function doctor (terminal: Terminal, options: DoctorOptions): Promise<number> {
  const checks: Check[] = [nodeVersion(process.versions.node)]
  const add = async (name: string, ask: () => Promise<Check[] | { ok: boolean, text: string }>): Promise<void> => {
    try {
      const answer = await ask()
      checks.push(...Array.isArray(answer) ? answer : [{ name, ...answer }])
    } catch (error) {
      checks.push({ name, ok: false, text: (error as Error).message })
    }
  }
  let config: Config | undefined
  await add('configuration', async () => {
    const { file, config: given } = await settings(terminal, options)
    config = { ...given, store: { ...given.store, path: resolve(terminal.folder, given.store.path) } }
    return { ok: true, text: file ?? 'no file: the defaults' }
  })
  if (config !== undefined) {
    const known = config
    let server: Awaited<ReturnType<typeof findRunning>>
    await add('server', async () => {
      server = await findRunning(terminal, known)
      return { ok: true, text: server === undefined ? 'not running' : 'running' }
    })
    await add('data folder', async () => await dataFolderState(known.store.path))
    await add('permissions', async () => await permissionState(known.store.path))
    if (server === undefined) {
      await add('MQTT port', async () => await portState(known.mqtt.tcp.host, known.mqtt.tcp.port))
      await add('HTTP port', async () => await portState(known.http.host, known.http.port))
    }
    await add('store', async () => await storeState(terminal, known, server))
    if (known.cluster.redis !== '') {
      await add('cluster', async () => {
        const { inspectCluster } = await import('../cluster/inspection.ts')
        return await inspectCluster(known.cluster)
      })
    }
    if (options.deep === true) await add('store content', async () => await contentState(terminal, known, server !== undefined))
  }
  const ok = checks.every(check => check.ok)
  print(terminal, options.json, { ok, checks }, columns(checks.map(check => [check.ok ? 'ok' : 'WRONG', check.name, printable(check.text.replace(/\n/g, '; '))])))
  return ok ? 0 : 1
}

export function nodeVersion (version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const ok = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])
  return { name: 'Node', ok, text: `${version}${ok ? '' : `: ${oldestNode.join('.')} or newer is needed`}` }
}

async function dataFolderState (path: string): Promise<{ ok: boolean, text: string }> {
  let there = path
  for (;;) {
    try {
      await access(there, constants.F_OK)
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || there === dirname(there)) throw error
      there = dirname(there)
    }
  }
  const probe = join(there, `.sabethes-doctor-${process.pid}`)
  // Permission bits do not tell about read-only mounts: only a write does.
  if (there === path) {
    await writeFile(probe, '', { flag: 'wx' })
  } else {
    await mkdir(probe)
  }
  await rm(probe, { recursive: true })
  const { bavail, bsize } = await statfs(there)
  const freeBytes = bavail * bsize
  const ok = freeBytes >= minFreeBytes
  return { ok, text: `${path}${there === path ? '' : ' (will be made)'}, ${Math.floor(freeBytes / 1024 / 1024)} MiB free${ok ? '' : ': too little'}` }
}

/** Every row of the embedded store. */
async function contentState (terminal: Terminal, { store }: Config, running: boolean): Promise<{ ok: boolean, text: string }> {
  if (store.driver === 'mongodb') return { ok: true, text: 'not read: MongoDB has checksums of its own (validate, and mongod ends on damage)' }
  if (running) return { ok: false, text: 'not read: the server has the store open; stop it, or look at a restored backup with --data' }
  const { inspectLevelDeep } = await import('../store/level/deep-inspection.ts')
  return await withProgress(terminal, 'doctor', async progress => await inspectLevelDeep(store.path, rows => { progress(rows, undefined) }))
}

/** The store tightens what it may when it is opened; this is asked before. */
async function permissionState (path: string): Promise<{ ok: boolean, text: string }> {
  const { openPaths } = await import('../store/level/permissions.ts')
  const open = await openPaths(path)
  const [first] = open
  if (first === undefined) return { ok: true, text: 'for the owner alone' }
  const others = open.length === 1 ? '' : ` and ${open.length - 1} more`
  return { ok: false, text: `${first.path} (${first.mode.toString(8).padStart(4, '0')})${others}: others than the owner may read it; the next start changes what it may, or: chmod -R go= ${path}` }
}

async function portState (host: string, port: number): Promise<{ ok: boolean, text: string }> {
  const server = createServer()
  return await new Promise(resolve => {
    server.once('error', (error: NodeJS.ErrnoException) => { resolve({ ok: false, text: `${host}:${port} cannot be used: ${error.code ?? error.message}` }) })
    server.listen(port, host, () => { server.close(() => { resolve({ ok: true, text: `${host}:${port} is free` }) }) })
  })
}

async function storeState (terminal: Terminal, config: Config, server: Awaited<ReturnType<typeof findRunning>>): Promise<Check[]> {
  const { driver, url, database }: ConfiguredStore = config.store
  const checks: Check[] = []
  if (server !== undefined) {
    const { healthy } = (await server.status()).store
    checks.push({ name: 'store', ok: healthy, text: healthy ? `${driver}, in use by the server, healthy` : `${driver}: the server says that it is NOT HEALTHY` })
  }
  if (driver === 'mongodb') {
    const { inspectMongo } = await import('../store/mongodb/inspection.ts')
    checks.push(...url === undefined ? [{ name: 'mongodb address', ok: false, text: 'store.url is not set' }] : await inspectMongo({ url, database }))
  } else if (server === undefined) {
    const { inspectLevel } = await import('../store/level/inspection.ts')
    checks.push({ name: 'store', ...await inspectLevel(config.store.path) })
  }
  return checks
}
