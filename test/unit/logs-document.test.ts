/** docs/logs.md names every line that the server can write. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { packageRoot } from '../support/package-root.ts'

/** Calls of a log's methods, and `logFailure`, up to the end of the line; the text may stand in the next one. */
const call = /\b(?:log|Log|#log)\??\.(?:fatal|error|warn|info|debug)\((.*,\n\s+'.*|.*)$|\blogFailure\((.*)$/gm
const quoted = /'((?:[^'\\]|\\.)*)'/g

await t.test('every message in the sources has its row, and every row its message', async t => {
  const folder = fileURLToPath(new URL('broker', packageRoot))
  if (!existsSync(join(folder, 'main.ts'))) return t.comment('a package without sources')
  const document = readFileSync(new URL('docs/logs.md', packageRoot), 'utf8')
  const rows = new Set([...document.matchAll(/^\| (?:fatal|error|warn|info|debug)[a-z, ]* \| ([^|]+) \|/gm)].map(([, text = '']) => text.trim()))
  const found = new Set<string>()
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts') || name.startsWith('cli')) continue
    for (const [, direct, failure] of readFileSync(join(folder, name), 'utf8').matchAll(call)) {
      const all = direct ?? failure ?? ''
      // What is quoted before the text belongs to its fields.
      for (const [, text = ''] of all.slice(all.lastIndexOf('}, ') + 1).matchAll(quoted)) found.add(text)
    }
  }
  t.ok(found.size > 30, `${found.size} messages`)
  for (const text of found) t.ok(rows.has(text), `docs/logs.md has a row for: ${text}`)
  for (const text of rows) t.ok(found.has(text), `a row of docs/logs.md is written by the server: ${text}`)
})
