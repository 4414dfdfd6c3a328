/** Builds programs in Go, once per content of their files: the versions are those of go.mod, the checksums those of go.sum. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'

export interface GoProgram {
  name: string
  /** The folder of go.mod. */
  sources: string
  /** The files that the program depends on. */
  files: readonly string[]
  /** What is built: a folder of `sources`, or a package of one of its modules. */
  package: string
  tags?: readonly string[]
  /** Where builds are kept. */
  folder: string
}

/** A lock whose holder did not touch it for so long belongs to a build that died. */
const staleMs = 30_000

/** The path of the program; builds it when it is not there yet. Needs `go` and, the first time, its module proxy. */
export async function buildGo (wanted: GoProgram): Promise<string> {
  const hash = createHash('sha256')
  for (const name of wanted.files) hash.update(readFileSync(join(wanted.sources, name))).update('\0')
  const program = join(wanted.folder, `${wanted.name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(program)) return program
  mkdirSync(wanted.folder, { recursive: true })
  const lock = `${program}.lock`
  while (!taken(lock)) {
    if (existsSync(program)) return program
    await new Promise(resolve => setTimeout(resolve, 250))
  }
  const alive = setInterval(() => utimesSync(lock, new Date(), new Date()), staleMs / 6)
  const making = `${program}.${process.pid}`
  try {
    if (!existsSync(program)) {
      await compile(wanted, making)
      renameSync(making, program)
    }
    return program
  } finally {
    clearInterval(alive)
    rmSync(making, { force: true })
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

async function compile ({ sources, package: what, tags = [] }: GoProgram, output: string): Promise<void> {
  // Read-only: what go.sum does not know is an error, whatever the user's settings are.
  const args = ['build', '-mod=readonly', '-trimpath', ...(tags.length > 0 ? ['-tags', tags.join()] : []), '-ldflags', '-s -w', '-o', output, what]
  const go = spawn('go', args, { cwd: sources, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  go.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
  const [code] = await once(go, 'close') as [number | null]
  if (code !== 0) throw new Error(`go ${args.join(' ')} ended with ${code}:\n${said.slice(-2000)}`)
}
