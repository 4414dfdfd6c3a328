/** An earlier commit of this repository as a peer: built aside once, and started as its own bench starts it. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { cacheFolder } from '../cache.ts'
import type { Peer } from './peer.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const shownDigits = 8

export interface AgainstOptions {
  /** The repository whose commit it is; this one by default. */
  repository?: string
  /** Where builds are kept, one folder a commit; `sabethes-bench` of the user's cache folder by default. */
  cache?: string
}

/** What an earlier commit's bench offers: `peers/sabethes.ts`, and `killAll` of its `peers/process.ts`. */
export interface Earlier {
  /** The commit, shortened. */
  readonly name: string
  /** The folder that it was built in. */
  readonly folder: string
  /** Its peer of that name, under the name of the commit; undefined when it has none. */
  peer (file: string, name: string): Promise<Peer | undefined>
  killAll (): void
}

/** Builds the commit `ref` if that was not done before. Throws an Error with a text for the user when there is none, or it does not build. */
export async function earlier (ref: string, { repository = root, cache = cacheFolder }: AgainstOptions = {}): Promise<Earlier> {
  const commit = commitOf(repository, ref)
  // With this clone's packages a build is of these packages.
  const folder = join(cache, `${commit}-${createHash('sha256').update(lockOf(repository) ?? '').digest('hex').slice(0, shownDigits)}`)
  if (!existsSync(folder)) build(repository, commit, cache, folder)
  else relink(repository, folder)
  const name = commit.slice(0, shownDigits)
  const load = async (file: string): Promise<Record<string, unknown>> => await import(pathToFileURL(join(folder, 'dist/bench/peers', file)).href) as Record<string, unknown>
  const { killAll } = await load('process.js') as { killAll: () => void }
  return {
    name,
    folder,
    async peer (file, key) {
      if (!existsSync(join(folder, 'dist/bench/peers', file))) return undefined
      const peer = (await load(file))[key] as Peer | undefined
      return peer === undefined ? undefined : { ...peer, name: peer.name.replace('sabethes', name) }
    },
    killAll
  }
}

function lockOf (folder: string): string | undefined {
  const path = join(folder, 'package-lock.json')
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

function commitOf (repository: string, ref: string): string {
  try {
    return execFileSync('git', ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`], { cwd: repository, encoding: 'utf8' }).trim()
  } catch (cause) {
    throw new Error(`--against: '${ref}' is no commit of this repository`, { cause })
  }
}

/** In a folder beside it first: half a build is never taken for a whole one. */
function build (repository: string, commit: string, cache: string, folder: string): void {
  mkdirSync(cache, { recursive: true })
  const making = mkdtempSync(join(cache, 'making-'))
  try {
    const archive = execFileSync('git', ['archive', commit], { cwd: repository, maxBuffer: 1e9 })
    execFileSync('tar', ['-x', '-C', making], { input: archive })
    const run = (args: string[]): void => { execFileSync('npm', args, { cwd: making, stdio: ['ignore', 'ignore', 'inherit'] }) }
    process.stderr.write(`building ${commit.slice(0, shownDigits)} in ${cache}\n`)
    if (lockOf(making) === lockOf(repository)) symlinkSync(join(repository, 'node_modules'), join(making, 'node_modules'))
    else run(['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
    run(['run', '-s', 'build'])
    renameSync(making, folder)
  } catch (cause) {
    rmSync(making, { recursive: true, force: true })
    throw new Error(`--against: ${commit.slice(0, shownDigits)} does not build here`, { cause })
  }
}

/** The clone that lent the build its packages may be gone; this one's are the same. */
function relink (repository: string, folder: string): void {
  const link = join(folder, 'node_modules')
  const lost = lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() === true && !existsSync(link)
  if (!lost) return
  rmSync(link)
  symlinkSync(join(repository, 'node_modules'), link)
}
