/** Damage of the newest log file: the end may be missing, the middle may not. */
import { appendFileSync, cpSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { StoreFormatError } from '../../broker/store/errors.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { message } from '../contract/operations.ts'

/** A store of 200 commits in one log, as a crash leaves it; resolves to the log's path and its size after each commit. */
async function filled (t: Test, bodyBytes = 300): Promise<{ path: string, log: string, sizes: number[] }> {
  const open = join(t.testdir(), 'open')
  const store = await openLevelStore({ path: open })
  const name = readdirSync(join(open, 'db')).find(name => name.endsWith('.log')) as string
  const sizes: number[] = []
  for (let i = 0; i < 200; i++) {
    await store.commit([message('d:a:b', 'a', { content: `"body":"${'x'.repeat(bodyBytes)}"` })])
    sizes.push(statSync(join(open, 'db', name)).size)
  }
  // Closing makes a table of the log.
  const path = join(t.testdirName, 'store')
  cpSync(open, path, { recursive: true })
  await store.close()
  return { path, log: join(path, 'db', name), sizes }
}

async function count (path: string): Promise<number> {
  const store = await openLevelStore({ path })
  try {
    const log = await store.messages('d:a:b', { limit: 1e6 })
    const [head] = await store.heads(['d:a:b'])
    if (head?.seq !== log.length) throw new Error('the head is not the last message')
    return log.length
  } finally {
    await store.close()
  }
}

function flip (file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] as number) ^ 0xff
  writeFileSync(file, bytes)
}

await t.test('nothing damaged', async t => {
  const { path } = await filled(t)
  t.equal(await count(path), 200)
})

await t.test('a cut end loses the last commit at most', async t => {
  for (const cut of [1, 7, 100]) {
    const { path, log, sizes } = await filled(t)
    truncateSync(log, (sizes[199] as number) - cut)
    t.equal(await count(path), 199)
  }
})

await t.test('a flipped byte in the last record loses it alone', async t => {
  const { path, log, sizes } = await filled(t)
  flip(log, (sizes[199] as number) - 3)
  t.equal(await count(path), 199)
})

await t.test('zeros or rubbish after the end are no records', async t => {
  for (const tail of [Buffer.alloc(5000), Buffer.alloc(5000, 0xab)]) {
    const { path, log } = await filled(t)
    appendFileSync(log, tail)
    t.equal(await count(path), 200)
  }
})

await t.test('damage with whole records after it is refused', async t => {
  for (const [bodyBytes, at] of [[300, 3], [300, 50], [300, 199], [40_000, 20]] as const) {
    const { path, log, sizes } = await filled(t, bodyBytes)
    const before = at === 199 ? 198 : at
    flip(log, (sizes[before - 1] as number) + 40)
    const opened = openLevelStore({ path })
    await t.rejects(opened, StoreFormatError)
    await t.rejects(opened, { message: /damaged at byte \d+/ })
    flip(log, (sizes[before - 1] as number) + 40)
    t.equal(await count(path), 200, 'refusing changed nothing')
  }
})
