/** docs/conformance.md: every normative statement of both versions once, tests that exist, and how many have one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { packageRoot } from '../support/package-root.ts'

/** The numbers of appendix B: a section with how many it has, or which. */
const statements = {
  'MQTT 3.1.1': `1.5.3:3 2.2.2:2 2.3.1:7 3.1.0:2 3.1.2:24 3.1.3:11 3.1.4:5 3.2.0:1 3.2.2:6 3.3.1:12 3.3.2:3 3.3.4:1 3.3.5:2 3.6.1:1 3.8.1:1 3.8.3:4 3.8.4:6
    3.9.3:2 3.10.1:1 3.10.3:2 3.10.4:6 3.12.4:1 3.14.1:1 3.14.4:3 4.1.0:2 4.3.1:1 4.3.2:2 4.3.3:2 4.4.0:1 4.5.0:2 4.6.0:6 4.7.1:3 4.7.2:1 4.7.3:4 4.8.0:2
    6.0.0:4 7.0.0:2 7.1.1:1 7.1.2:1`,
  'MQTT 5': `1.5.4:3 1.5.5:1 1.5.7:1 2.1.3:1 2.2.1:2-6 2.2.2:1 3.1.0:2 3.1.2:30 3.1.3:12 3.1.4:6 3.2.0:2 3.2.2:22 3.3.1:13 3.3.2:20 3.3.4:10 3.4.2:3 3.5.2:3
    3.6.1:1 3.6.2:3 3.7.2:3 3.8.1:1 3.8.3:5 3.8.4:8 3.9.2:2 3.9.3:2 3.10.1:1 3.10.3:2 3.10.4:6 3.11.2:2 3.11.3:2 3.12.4:1 3.14.0:1 3.14.1:1 3.14.2:4 3.14.4:3
    3.15.1:1 3.15.2:3 4.1.0:2 4.2.0:1 4.3.1:1 4.3.2:5 4.3.3:13 4.4.0:2 4.5.0:2 4.6.0:6 4.7.0:1 4.7.1:2 4.7.2:1 4.7.3:4 4.8.2:6 4.9.0:3 4.12.0:7 4.12.1:2
    4.13.1:1 4.13.2:1 6.0.0:4`
}
const least = 0.95

const read = (path: string): string => readFileSync(new URL(path, packageRoot), 'utf8')

function expand (ranges: string): string[] {
  return ranges.trim().split(/\s+/).flatMap(range => {
    const [section = '', span = ''] = range.split(':')
    const [from = 1, to = 1] = span.includes('-') ? span.split('-').map(Number) : [1, Number(span)]
    return Array.from({ length: to - from + 1 }, (_, i) => `${section}-${from + i}`)
  })
}

interface Row { clause: string, words: string, cell: string }

const parts = read('docs/conformance.md').split(/^## /m).slice(1)
const rowsOf = (version: string): Row[] => {
  const part = parts.find(text => text.startsWith(`${version}\n`)) ?? ''
  return [...part.matchAll(/^\| (\d[\d.]+-\d+) \| (.*?) \| (.*) \|$/gm)].map(([, clause = '', words = '', cell = '']) => ({ clause, words, cell }))
}

/** The lines of a test file that name a test, or a case of a table of cases. */
const titles = new Map<string, string>()
function titlesOf (file: string): string {
  const path = `test/${file}.test.ts`
  if (!existsSync(new URL(path, packageRoot))) return ''
  const known = titles.get(file) ?? read(path).split('\n').filter(line => /test\(|^\s*\[['"`]/.test(line)).join('\n')
  titles.set(file, known)
  return known
}

const why = /^(client|not tested|fails): \S/

for (const [version, ranges] of Object.entries(statements)) {
  await t.test(version, async t => {
    const rows = rowsOf(version)
    t.strictSame(rows.map(row => row.clause), expand(ranges), 'every statement once, in order')
    for (const { clause, words, cell } of rows) {
      t.ok(words.length > 2, `${clause} says what it is`)
      if (why.test(cell)) continue
      for (const one of cell.split('; ')) {
        const [, file = '', name = ''] = /^`([\w/-]+)` (\S.*)$/.exec(one) ?? []
        t.ok(name !== '' && titlesOf(file).includes(name), `${clause}: ${one}`)
      }
    }
    const server = rows.filter(row => !row.cell.startsWith('client: '))
    const tested = server.filter(row => !why.test(row.cell))
    t.comment(`${rows.length} statements, ${server.length} bind a server, ${tested.length} are tested`)
    t.ok(tested.length >= least * server.length, `${tested.length} of ${server.length} are tested`)
  })
}

await t.test('statements that tests and sources name', async t => {
  const known = new Set(Object.values(statements).flatMap(expand))
  for (const folder of ['test', 'broker']) {
    for (const path of readdirSync(new URL(folder, packageRoot), { recursive: true, encoding: 'utf8' }).filter(path => path.endsWith('.ts'))) {
      for (const [, clause = ''] of read(`${folder}/${path}`).matchAll(/MQTT-(\d+(?:\.\d+)+-\d+)/g)) {
        if (!known.has(clause)) t.fail(`${folder}/${path} names ${clause}`)
      }
    }
  }
})
