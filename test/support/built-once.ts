/** Builds something once on a machine, whoever asks for it: the others wait for the one that builds. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'

/** A lock whose holder did not touch it for so long belongs to a build that died. */
const staleMs = 30_000

export interface Wanted {
  name: string
  /** The folder of the files. */
  sources: string
  /** The files that it depends on. */
  files: readonly string[]
  /** Where builds are kept. */
  folder: string
}

/** The path of the file or folder that `make` makes, once per content of the files. What fails leaves nothing behind. */
export async function builtOnce (wanted: Wanted, make: (output: string) => Promise<void>): Promise<string> {
  const hash = createHash('sha256')
  for (const name of wanted.files) hash.update(readFileSync(join(wanted.sources, name))).update('\0')
  const built = join(wanted.folder, `${wanted.name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(built)) return built
  mkdirSync(wanted.folder, { recursive: true })
  const lock = `${built}.lock`
  while (!taken(lock)) {
    if (existsSync(built)) return built
    await new Promise(resolve => setTimeout(resolve, 250))
  }
  const alive = setInterval(() => utimesSync(lock, new Date(), new Date()), staleMs / 6)
  const making = `${built}.${process.pid}`
  try {
    if (!existsSync(built)) {
      await make(making)
      renameSync(making, built)
    }
    return built
  } finally {
    clearInterval(alive)
    rmSync(making, { force: true, recursive: true })
    rmdirSync(lock)
  }
}

function taken (lock: string): boolean {
  try {
    mkdirSync(lock)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    const touched = statSync(lock, { throwIfNoEntry: false })?.mtimeMs
    if (touched === undefined || Date.now() - touched < staleMs) return false
    utimesSync(lock, new Date(), new Date())
    return true
  }
}
