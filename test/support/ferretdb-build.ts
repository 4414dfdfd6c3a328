/**
 * Builds the MongoDB-speaking server of the tests from `test/support/ferretdb/` (Go), once per content of its files.
 * By hand, so that no test waits for the compiler: `node dist/test/support/ferretdb-build.js`.
 */
import { fileURLToPath } from 'node:url'
import { buildGo } from './go-build.ts'
import { packageRoot } from './package-root.ts'

/** The path of the program; builds it when it is not there yet. Needs `go` and, the first time, its module proxy. */
export function buildFerretdb (): Promise<string> {
  return buildGo({
    name: 'ferretdb',
    sources: fileURLToPath(new URL('test/support/ferretdb/', packageRoot)),
    files: ['main.go', 'front.go', 'go.mod', 'go.sum'],
    package: '.',
    // The PostgreSQL backend is left out: a third less to compile.
    tags: ['ferretdb_no_postgresql'],
    folder: fileURLToPath(new URL('node_modules/.cache/sabethes/', packageRoot))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const began = Date.now()
  process.stdout.write(`${await buildFerretdb()} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
}
