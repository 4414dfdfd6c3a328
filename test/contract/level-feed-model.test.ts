/** The feed of the embedded store over random commits, reads, acknowledgements, trims, failing writes and restarts. */
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { FeedEntry } from '../../broker/store/feed.ts'
import type { Store } from '../../broker/store/store.ts'
import { message } from './operations.ts'

const convs = ['d:a:b', 'd:a:c', 'g:dev']

const steps = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const), count: fc.integer({ min: 1, max: 9 }), from: fc.nat(2), fail: fc.constantFrom('no' as const, 'no' as const, 'no' as const, 'before' as const, 'after' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), reader: fc.nat(1), limit: fc.integer({ min: 1, max: 12 }), acknowledge: fc.boolean(), fail: fc.constantFrom('no' as const, 'no' as const, 'before' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), limit: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) }
), { maxLength: 60 })

/** Messages as a reader sees them: in the order of each conversation the first time, and nothing skipped. */
class Reader {
  readonly name: string
  readonly #next = new Map<string, number>()
  constructor (name: string) { this.name = name }

  take (entries: readonly FeedEntry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'gap') throw new Error(`a gap: ${JSON.stringify(entry)}`)
      const { conv, message: { seq } } = entry
      const next = this.#next.get(conv) ?? 1
      if (seq > next) throw new Error(`${this.name}: ${conv} ${seq}, and ${next} has not come`)
      if (seq === next) this.#next.set(conv, next + 1)
    }
  }

  /** Throws unless all of the log has come. */
  async complete (store: Store): Promise<void> {
    const heads = await store.heads(convs)
    for (const [i, conv] of convs.entries()) {
      const [came, is] = [(this.#next.get(conv) ?? 1) - 1, heads[i]?.seq ?? 0]
      if (came !== is) throw new Error(`${this.name}: ${came} of ${is} messages of ${conv} came`)
    }
  }
}

await t.test('nothing is skipped and the order stays, whatever fails and whenever it restarts', async t => {
  const folder = t.testdir()
  let runs = 0
  await fc.assert(fc.asyncProperty(steps, async list => {
    let fail: 'no' | 'before' | 'after' = 'no'
    const failing = (when: 'before' | 'after') => (): void => { if (fail === when) throw Object.assign(new Error('EIO'), { code: 'EIO' }) }
    const options = { path: join(folder, `store-${++runs}`), retryIntervalMs: 1, faults: { beforeWrite: failing('before'), afterWrite: failing('after') }, cache: { heads: 2 }, segmentLength: 500 }
    let store = await openLevelStore(options)
    try {
      const readers = [new Reader('fast'), new Reader('slow')]
      for (const { name } of readers) await store.feed.register(name, { from: 'now', createdAt: 1 })
      let sent = 0
      const healed = async (): Promise<void> => { while (await store.health().then(() => false, () => true)) await new Promise(resolve => { setImmediate(resolve) }) }
      for (const step of list) {
        if (step.do === 'commit') {
          const ops = Array.from({ length: step.count }, (_, i) => message(convs[(step.from + i) % 3] as string, 'a', { cid: `${++sent}` }))
          fail = step.fail
          await store.commit(ops).catch(() => { /* it is sent again */ })
          fail = 'no'
          if (step.fail === 'no') continue
          await healed()
          await store.commit(ops)
        } else if (step.do === 'read') {
          const reader = readers[step.reader] as Reader
          const { position } = await store.feed.reader(reader.name) as { position: number }
          const entries = await store.feed.read(position, { limit: step.limit, maxBytes: 1e6 })
          reader.take(entries)
          fail = step.fail
          if (step.acknowledge) await store.feed.acknowledge(reader.name, entries.at(-1)?.position ?? 0).catch(() => { /* it comes again */ })
          fail = 'no'
          await healed()
        } else if (step.do === 'trim') {
          await store.feed.trim(0, step.limit)
        } else {
          await store.close()
          store = await openLevelStore(options)
        }
      }
      for (const reader of readers) {
        const { position } = await store.feed.reader(reader.name) as { position: number }
        reader.take(await store.feed.read(position, { limit: 10_000, maxBytes: 1e9 }))
        await reader.complete(store)
      }
    } finally {
      await store.close()
    }
  }), { numRuns: 40 })
})
