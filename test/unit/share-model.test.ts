/** Whatever happens, a share keeps its promises. */
import fc from 'fast-check'
import t from 'tap'
import { settled } from '../support/memory-client.ts'
import { shareStep, ShareWorld } from '../support/share-world.ts'

await t.test('a share keeps its promises', async t => {
  let again = 0
  await fc.assert(fc.asyncProperty(fc.array(shareStep, { minLength: 20, maxLength: 150 }), async steps => {
    const world = new ShareWorld()
    try {
      for (const worker of [0, 1, 2]) {
        world.connect(worker)
        await settled(world.bench.engine)
        for (const filter of [0, 1]) world.do({ op: 'subscribe', worker, filter })
      }
      for (const step of steps) {
        world.do(step)
        if (step.op === 'turn') await new Promise<void>(resolve => { setImmediate(resolve) })
        world.check()
      }
      await world.finish()
      again += world.again
    } finally {
      world.do({ op: 'late' })
      await world.bench.access.close()
    }
  }), { numRuns: 300 })
  t.ok(again > 50, `${again} messages came to another worker`)
})
