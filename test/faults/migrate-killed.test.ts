/**
 * `sabethes migrate` from the embedded store to MongoDB and back, and `export` and `import`, killed with -9 twice each way, equal in the end.
 * `SABETHES_TEST_MIGRATE_MESSAGES=200000` runs it with as many messages; 6000 otherwise.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { MigrationReport } from '../../broker/migrate/copy.ts'
import { fillStore, text } from '../support/migration.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { cleanEnv, cli, mainPath } from '../support/server.ts'

const messages = Number(process.env.SABETHES_TEST_MIGRATE_MESSAGES ?? 6000)
const conversations = Math.ceil(messages / 100)
const batch = 500
const large = messages >= 100_000
const timeoutMs = large ? 1_800_000 : 120_000
t.setTimeout(2 * timeoutMs)

/** Kills it once it has copied at least `rows`. Resolves to how many rows it told of, or rejects when it ended before. */
async function killedAt (args: readonly string[], rows: number): Promise<number> {
  const child = spawn(process.execPath, [mainPath, ...args], { env: cleanEnv(), stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  let copied = 0
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    said += piece
    copied = Math.max(copied, ...[...said.matchAll(/^copy: (\d+)/gm)].map(found => Number(found[1])))
    if (copied > 0 && copied >= rows) child.kill('SIGKILL')
  })
  const [code, signal] = await once(child, 'close') as [number | null, NodeJS.Signals | null]
  if (signal !== 'SIGKILL') throw new Error(`it ended (${code}) before it could be killed:\n${said}`)
  return copied
}

/** A store with rows of every kind and `messages` messages. */
async function fill (path: string): Promise<void> {
  const store = await openLevelStore({ path })
  await fillStore(store)
  for (let i = 0; i < messages; i += batch) {
    await store.commit(Array.from({ length: Math.min(batch, messages - i) }, (_, k) => {
      const [from, to] = [`u${(i + k) % conversations}`, 'zoe']
      return text(`d:${from}:${to}`, from, i + k, { id: `m${i + k}`, cid: `c${i + k}`, content: `"body":"${'x'.repeat(150)}"` })
    }))
  }
  await store.close()
}

/** Each command is killed twice before it comes to its end. Resolves to what they said of all rows. */
async function killedTwice (t: Test, commands: ReadonlyArray<readonly string[]>, what: string): Promise<MigrationReport[]> {
  const reports: MigrationReport[] = []
  for (const command of commands) {
    const began = Date.now()
    const stops = [await killedAt(command, large ? messages / 3 : 0), await killedAt(command, large ? messages * 2 / 3 : 0)]
    const { code, stdout, stderr } = await cli([...command, '--json'], { timeoutMs })
    t.equal(code, 0, stderr)
    const report = JSON.parse(stdout) as MigrationReport
    reports.push(report)
    t.equal(report.resumed, true, `killed at ${stops.join(' and ')} rows`)
    t.ok(report.copied < Object.values(report.kinds).reduce((sum, { rows }) => sum + rows, 0), 'it went on where it was')
    t.comment(`${command[0]}, ${messages} messages, ${what}: ${((Date.now() - began) / 1000).toFixed(1)} s`)
  }
  t.ok((reports[0]?.kinds.message.rows ?? 0) >= messages)
  t.same(reports[1]?.kinds, reports[0]?.kinds, 'equal: numbers and sums of every kind')
  return reports
}

const first = join(t.testdir(), 'first')
await fill(first)

await t.test('to MongoDB and back', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  const mongo = `${server.url}${server.database}`
  await killedTwice(t, [['migrate', '--from', `level:${first}`, '--to', mongo], ['migrate', '--from', mongo, '--to', `level:${join(t.testdir(), 'back')}`]], server.kind)
})

await t.test('by a file', async t => {
  const folder = t.testdir()
  const file = join(folder, 'all.ndjson.gz')
  await killedTwice(t, [['export', file, '--from', `level:${first}`], ['import', file, '--to', `level:${join(folder, 'back')}`]], `${file.slice(-3)}`)
  t.comment(`${(statSync(file).size / 1e6).toFixed(1)} MB`)
})
