import assert from 'node:assert'
import { createRequire } from 'node:module'
import t from 'tap'
import { recordsPersistence } from '../../broker/ordinary/persistence.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'

// The suite of aedes-persistence, a dependency of Aedes, written for node:test.
const require = createRequire(createRequire(import.meta.url).resolve('aedes'))
const suite = require('aedes-persistence/abstract.js') as (options: object) => void

interface Context { assert: typeof assert, plan (): void, diagnostic (): void }

// It wants the whole packet back; Aedes asks only whether the id is in use, so only the id is kept.
const unlike = new Set(['add incoming packet, get it, and clear with messageId'])

const tests: Array<[string, (context: Context) => Promise<void>]> = []
suite({
  test: (name: string, run: (context: Context) => Promise<void>) => { tests.push([name, run]) },
  persistence: () => recordsPersistence({ records: new MemoryRecords(), offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 10_000, retainedBytes: 10_000_000 }),
  testAsync: true
})

t.ok(tests.length > 40, 'the suite is there')
for (const [name, run] of tests) {
  if (unlike.has(name)) continue
  await t.test(name, async t => {
    await run({ assert, plan: () => {}, diagnostic: () => {} })
    t.pass('no assertion failed')
  })
}
