/** Messages and events that a rejected commit stored all the same are announced before what follows them. */
import { join } from 'node:path'
import t from 'tap'
import type { Operation, Outcome, Store } from '../../broker/store/store.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { openBench } from '../support/engine-bench.ts'

await t.test('what was missed comes first, in order, also with a repeat', async t => {
  const level = await openLevelStore({ path: join(t.testdir(), 'other') })
  t.teardown(() => level.close())
  const missed = [1, 2].map(seq => ({ seq, n: seq, counts: true, id: `lost${seq}`, from: 'alice', ts: 5, content: `"id":"lost${seq}","from":"alice","type":"text","body":"lost ${seq}"` }))
  let answer: (outcome: Outcome) => Outcome = outcome => outcome
  const store = new Proxy(level, {
    get (target, key) {
      const value = Reflect.get(target, key) as unknown
      if (typeof value !== 'function') return value
      if (key !== 'commit') return value.bind(target) as unknown
      return async (operations: readonly Operation[]): Promise<Outcome[]> => (await target.commit(operations)).map(answer)
    }
  }) as Store
  const bench = await openBench(t, { store })
  const told = (): unknown[] => bench.envelopes().map(envelope => [envelope['seq'], envelope['id'] === undefined ? '' : envelope['body']])

  answer = outcome => ({ ...outcome, seq: 3, missed })
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'next'))
  t.strictSame(told(), [[1, 'lost 1'], [2, 'lost 2'], [3, 'next']])

  bench.outputs.length = 0
  answer = outcome => ({ ...outcome, seq: 2, id: 'lost2', replay: true, missed })
  const verdict = await bench.verdict(bench.send('alice', 'im/to/u/bob', 'again'))
  t.match(verdict, { ok: true, seq: 2, id: 'lost2' })
  t.strictSame(told(), [[1, 'lost 1'], [2, 'lost 2']], 'a repeat is told as it was stored')
})
