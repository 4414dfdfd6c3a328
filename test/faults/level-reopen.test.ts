/** A write failed: the store opens itself anew. Nothing acknowledged is lost, nothing refused comes back; what cannot be opened anew is told. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readdirSync, renameSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { StoreUnavailableError } from '../../broker/store/errors.ts'
import { StoreLostError, openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { message } from '../contract/operations.ts'
import { until, within } from '../support/mailbox.ts'

const conv = 'd:a:b'
const inputOutput = 'IO error: 000005.log: Input/output error'
const healthy = (store: Store): Promise<boolean> => store.health().then(() => true, () => false)
const idsOf = async (store: Store): Promise<string[]> => (await store.messages(conv, { limit: 1e6 })).map(({ id }) => id)

for (const place of ['beforeWrite', 'afterWrite'] as const) {
  await t.test(`a sync that failed (${place}): it goes on by itself`, async t => {
    const path = join(t.testdir(), 'store')
    let failing = false
    let writes = 0
    const fault = (): void => {
      writes++
      if (failing) throw new Error(inputOutput)
    }
    const store = await openLevelStore({ path, retryIntervalMs: 50, faults: { [place]: fault } })
    t.teardown(() => store.close())
    const acknowledged: string[] = []
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) {
        const op = message(conv, 'a', { content: `"body":"${'x'.repeat(round * 20_000)}"` })
        await store.commit([op])
        acknowledged.push(op.id)
      }
      // Neither synced nor lost.
      await store.advance({ cursors: [], members: [{ user: 'b', conv, readSeq: acknowledged.length }], events: [] })
      failing = true
      const before = writes
      const refused = await Promise.allSettled([store.commit([message(conv, 'a')]), store.commit([message(conv, 'a')]), store.putUser({ uid: 'x', createdAt: 1 })])
      failing = false
      for (const result of refused) t.ok(result.status === 'rejected' && result.reason instanceof StoreUnavailableError)
      t.equal(writes - before, 1, 'what waited behind it was not tried')
      // LevelDB shows what it has taken; a sync that really failed is not shown (e2e-store-errors.test.ts).
      if (place === 'beforeWrite') t.same(await idsOf(store), acknowledged, 'reads go on, and show what was stored')
      await until(() => healthy(store), 5000, 'the store')
      t.same(await idsOf(store), acknowledged, 'what was refused did not come')
      t.equal(await store.user('x'), undefined)
      t.match(await store.member('b', conv), { readSeq: acknowledged.length })
      const op = message(conv, 'a')
      t.match(await store.commit([op]), [{ seq: acknowledged.length + 1 }], 'numbers go on without a gap')
      acknowledged.push(op.id)
    }
    failing = true
    await t.rejects(store.commit([message(conv, 'a')]), { name: 'StoreFailedError' })
    failing = false
    await store.close()
    const again = await openLevelStore({ path })
    t.teardown(() => again.close())
    t.same(await idsOf(again), acknowledged, 'nor did it come with a restart')
  })
}

await t.test('it does not wait for somebody to write', async t => {
  let failing = true
  const store = await openLevelStore({ path: join(t.testdir(), 'store'), retryIntervalMs: 1, faults: { beforeWrite: () => { if (failing) throw new Error('IO error: x: Too many open files') } } })
  t.teardown(() => store.close())
  await t.rejects(store.commit([message(conv, 'a')]), { name: 'StoreFailedError' })
  failing = false
  // Health is not asked, which would try by itself.
  await until(() => store.commit([message(conv, 'a')]).then(() => true, () => false), 5000, 'the store')
})

await t.test('it cannot be opened anew: told once, after some tries', async t => {
  const path = join(t.testdir(), 'store')
  let failing = false
  let lost: (error: Error) => void
  let calls = 0
  const told = new Promise<Error>(resolve => { lost = resolve })
  const store = await openLevelStore({
    path,
    retryIntervalMs: 1,
    onLost: error => { calls++; lost(error) },
    faults: { beforeWrite: () => { if (failing) throw new Error(inputOutput) } }
  })
  t.teardown(() => store.close())
  await store.commit([message(conv, 'a')])
  failing = true
  renameSync(join(path, 'db', 'CURRENT'), join(path, 'db', 'away'))
  await t.rejects(store.commit([message(conv, 'a')]), { name: 'StoreFailedError' })
  const error = await within(told, 20_000, 'the end')
  t.ok(error instanceof StoreLostError)
  await t.rejects(store.health(), StoreLostError)
  await t.rejects(store.commit([message(conv, 'a')]), StoreLostError)
  await t.rejects(store.messages(conv, { limit: 1 }), StoreLostError)
  t.equal(calls, 1)
})

await t.test('the log lacks what was acknowledged: it does not go on', async t => {
  const path = join(t.testdir(), 'store')
  let failing = false
  let lost: (error: Error) => void
  const told = new Promise<Error>(resolve => { lost = resolve })
  const store = await openLevelStore({ path, retryIntervalMs: 1, onLost: error => { lost(error) }, faults: { beforeWrite: () => { if (failing) throw new Error(inputOutput) } } })
  t.teardown(() => store.close())
  for (let i = 0; i < 10; i++) await store.commit([message(conv, 'a')])
  const log = readdirSync(join(path, 'db')).find(name => name.endsWith('.log')) as string
  truncateSync(join(path, 'db', log), 1000)
  failing = true
  await t.rejects(store.commit([message(conv, 'a')]), { name: 'StoreFailedError' })
  t.match(await within(told, 5000, 'the end'), { message: /acknowledged/ })
})

/** For the rest of the test this process may have 300 descriptors. False, and said loudly, where that cannot be. */
function fewDescriptors (t: Test): boolean {
  const limit = Number(/Max open files +(\d+)/.exec(execFileSync('cat', [`/proc/${process.pid}/limits`], { encoding: 'utf8' }))?.[1])
  try {
    execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=300:'], { stdio: 'ignore' })
  } catch (error) {
    t.pass(`SKIPPED, LOUDLY: no prlimit: ${(error as Error).message}`)
    return false
  }
  t.teardown(() => { execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${limit}:`]) })
  return true
}

/** All descriptors that are left. */
function takeDescriptors (t: Test): number[] {
  const taken: number[] = []
  for (;;) {
    try {
      taken.push(openSync('/dev/null', 'r'))
    } catch (error) {
      t.equal((error as NodeJS.ErrnoException).code, 'EMFILE')
      return taken
    }
  }
}

await t.test('no descriptors to read a table', async t => {
  if (!fewDescriptors(t)) return
  const path = join(t.testdir(), 'store')
  const first = await openLevelStore({ path })
  // Several tables, of which the start reads only some; the body does not get smaller by compression.
  const count = 600
  for (let i = 0; i < count; i++) await first.commit([message(conv, 'a', { content: `"body":"${randomBytes(25_000).toString('hex')}"` })])
  await first.close()
  const store = await openLevelStore({ path })
  t.teardown(() => store.close())
  const taken = takeDescriptors(t)
  const seqs = Array.from({ length: count / 10 }, (_, i) => i * 10)
  const outcomes = await Promise.allSettled(seqs.map(after => store.messages(conv, { after, limit: 1 })))
  const refused = outcomes.flatMap(outcome => outcome.status === 'rejected' ? [outcome.reason as Error] : [])
  t.ok(refused.length > 0, `${refused.length} of ${seqs.length} could not be read`)
  t.same(refused.filter(reason => !(reason instanceof StoreUnavailableError)), [], 'it is said to be for the moment')
  for (const descriptor of taken) closeSync(descriptor)
  for (const after of seqs) t.match(await store.messages(conv, { after, limit: 1 }), [{ seq: after + 1 }])
})

await t.test('no descriptors at the switch of the log', async t => {
  if (!fewDescriptors(t)) return
  const path = join(t.testdir(), 'store')
  const store = await openLevelStore({ path, writeBufferBytes: 64 * 1024, retryIntervalMs: 10 })
  t.teardown(() => store.close())
  const acknowledged: string[] = []
  const put = async (): Promise<void> => {
    const op = message(conv, 'a', { content: `"body":"${'x'.repeat(5000)}"` })
    await store.commit([op])
    acknowledged.push(op.id)
  }
  for (let round = 0; round < 3; round++) {
    const taken = takeDescriptors(t)
    let failure: unknown
    for (let i = 0; i < 1000 && failure === undefined; i++) await put().catch((error: unknown) => { failure = error })
    for (const descriptor of taken) closeSync(descriptor)
    t.ok(failure instanceof StoreUnavailableError, `a log could not be made: ${String(failure)}`)
    await until(() => healthy(store), 5000, 'the store, with descriptors')
    for (let i = 0; i < 20; i++) await put()
    t.same(await idsOf(store), acknowledged)
  }
})
