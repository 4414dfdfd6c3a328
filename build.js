// Makes dist/ of the sources, where that can be done. In a clone `npm install` (prepare), `npm start` (prestart) and `npm pack`
// (prepack) call it; in the installed package dist/ is there, and nothing is built.
//   node build.js            says what is missing, and is content: an install without development dependencies does not fail
//   node build.js --needed   fails when there is nothing to start
//   node build.js --fresh    builds from nothing, or fails: no file of an earlier build gets into the package
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))
const [mode] = process.argv.slice(2)
process.exit(run())

function run () {
  const compiler = existsSync(root + 'tsconfig.json') ? find('typescript/bin/tsc') : undefined
  if (compiler === undefined) return checked()
  if (mode === '--fresh') for (const name of ['broker', 'plugins', '.tsbuildinfo']) rmSync(`${root}dist/${name}`, { recursive: true, force: true })
  const { status, error } = spawnSync(process.execPath, [compiler, '-p', root], { stdio: 'inherit', cwd: root })
  if (error !== undefined) throw error
  return status ?? 1
}

function find (module) {
  try {
    return createRequire(import.meta.url).resolve(module)
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
}

/** Without a compiler: what is there will do. */
function checked () {
  if (mode !== '--fresh' && existsSync(root + 'dist/broker/main.js')) return 0
  console.error(`sabethes: not built. The build needs TypeScript, a development dependency that was left out (--omit=dev, or
NODE_ENV=production). Build once with it, then remove what only the build needed:

  npm install --include=dev
  npm prune --omit=dev
`)
  return mode === undefined ? 0 : 1
}
