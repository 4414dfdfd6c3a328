/**
 * Builds the MongoDB-speaking server of the tests from `test/support/ferretdb/` (Go), once per content of its files.
 * By hand, so that no test waits for the compiler: `node dist/test/support/ferretdb-build.js`.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from './package-root.ts'

const sources = fileURLToPath(new URL('test/support/ferretdb/', packageRoot))

/** A lock whose holder did not touch it for so long belongs to a build that died. */
const staleMs = 30_000

/** The path of the program; builds it when it is not there yet. Needs `go` and, the first time, its module proxy. */
export async function buildFerretdb (): Promise<string> {
  const hash = createHash('sha256')
  for (const name of ['main.go', 'front.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(sources, name))).update('\0')
  const folder = fileURLToPath(new URL('node_modules/.cache/sabethes/', packageRoot))
  const program = join(folder, `ferretdb-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(program)) return program
  mkdirSync(folder, { recursive: true })
  const lock = `${program}.lock`
  while (!taken(lock)) {
    if (existsSync(program)) return program
    await new Promise(resolve => setTimeout(resolve, 250))
  }
  const alive = setInterval(() => utimesSync(lock, new Date(), new Date()), staleMs / 6)
  try {
    if (!existsSync(program)) {
      await compile(`${program}.${process.pid}`)
      renameSync(`${program}.${process.pid}`, program)
    }
    return program
  } finally {
    clearInterval(alive)
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

async function compile (output: string): Promise<void> {
  // The PostgreSQL backend is left out: a third less to compile.
  const args = ['build', '-trimpath', '-tags', 'ferretdb_no_postgresql', '-ldflags', '-s -w', '-o', output, '.']
  const go = spawn('go', args, { cwd: sources, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  go.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
  const [code] = await once(go, 'close') as [number | null]
  if (code !== 0) throw new Error(`go ${args.join(' ')} ended with ${code}:\n${said.slice(-2000)}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const began = Date.now()
  process.stdout.write(`${await buildFerretdb()} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
}
