/** Writes that fail: nobody is told that a message is stored, and nothing of it is seen. */
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { StoreFullError, openLevelStore } from '../../broker/store/level/store.ts'
import { message } from '../contract/operations.ts'
import { until } from '../support/mailbox.ts'

const conv = 'd:a:b'

await t.test('slow writes keep the order', async t => {
  const store = await openLevelStore({ path: join(t.testdir(), 'store'), faults: { beforeWrite: () => sleep(Math.random() * 10) } })
  t.teardown(() => store.close())
  const out = await Promise.all(Array.from({ length: 30 }, () => store.commit([message(conv, 'a')])))
  t.same(out.map(([o]) => o?.seq), Array.from({ length: 30 }, (_, i) => i + 1))
})

await t.test('an operation that cannot be applied harms nothing', async t => {
  const store = await openLevelStore({ path: join(t.testdir(), 'store') })
  t.teardown(() => store.close())
  await t.rejects(store.commit([message(conv, 'a'), message(conv, 'a', { content: null as unknown as string, id: null as unknown as string })]))
  await store.health()
  t.same(await store.heads([conv]), [undefined])
  t.match(await store.commit([message(conv, 'a')]), [{ seq: 1 }])
})

const mounted = mount()
await t.test('a full disk: no acknowledgement, reads go on, writes come back with the room', { skip: mounted === undefined && 'needs root for a tmpfs' }, async t => {
  const path = join(mounted as string, 'store')
  const store = await openLevelStore({ path, writeBufferBytes: 1024 * 1024, retryIntervalMs: 1 })
  t.teardown(async () => {
    await store.close()
    execFileSync('umount', [mounted as string])
  })
  const ballast = join(mounted as string, 'ballast')
  const acknowledged: string[] = []
  const put = async (body: string) => {
    const op = message(conv, 'a', { content: `"body":"${body}"` })
    const [out] = await store.commit([op])
    acknowledged.push(op.id)
    return out
  }
  // Small and large records are cut in different ways.
  for (const bytes of [50, 900, 20_000, 200_000]) {
    const body = 'x'.repeat(bytes)
    for (let i = 0; i < 20; i++) await put(body)
    t.throws(() => writeFileSync(ballast, Buffer.alloc(64 * 1024 * 1024)), { code: 'ENOSPC' })
    let failed = 0
    for (let i = 0; i < 5000 && failed < 3; i++) {
      try {
        await put(body)
      } catch (error) {
        t.ok(error instanceof StoreFullError)
        failed++
      }
    }
    t.equal(failed, 3)
    await t.rejects(store.health(), StoreFullError)
    t.same((await store.messages(conv, { limit: 1e6 })).map(m => m.id), acknowledged, 'readable while full')
    rmSync(ballast)
    await until(() => store.health().then(() => true, () => false), 5000, 'writes after there was room')
    t.match(await put(body), { seq: acknowledged.length }, 'numbers go on without a gap')
    t.same((await store.messages(conv, { limit: 1e6 })).map(m => m.id), acknowledged, 'what was refused is not there')
  }
  await store.close()
  const again = await openLevelStore({ path })
  t.same((await again.messages(conv, { limit: 1e6 })).map(m => m.id), acknowledged, 'nor after a restart')
  await again.close()
})

/** A tmpfs of 24 MB; `undefined` where it cannot be mounted. */
function mount (): string | undefined {
  const path = t.testdir({ tmpfs: {} }) + '/tmpfs'
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', path], { stdio: 'ignore' })
    return path
  } catch (error) {
    t.comment(`no tmpfs: ${(error as Error).message}`)
    return undefined
  }
}
