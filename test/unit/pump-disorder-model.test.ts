/** Delivery keeps its promises when outputs are lost, doubled and out of order, and the store is behind what was heard. */
import fc from 'fast-check'
import t from 'tap'
import { settled } from '../support/memory-client.ts'
import { disorderlyStep, World, type DeviceKind } from '../support/pump-world.ts'

const kinds: ReadonlyArray<readonly [DeviceKind, DeviceKind]> = [['mqtt', 'mqtt'], ['collecting', 'collecting'], ['collecting', 'mqtt']]

for (const [phone, tablet] of kinds) {
  await t.test(`${phone} and ${tablet}`, async t => {
    await fc.assert(fc.asyncProperty(fc.array(disorderlyStep, { minLength: 20, maxLength: 120 }), async steps => {
      const world = new World([phone, tablet], true)
      try {
        world.do({ op: 'connect', device: 0 })
        await settled(world.bench.engine)
        for (const filter of [0, 1, 2]) world.do({ op: 'subscribe', device: 0, filter })
        for (const step of steps) {
          world.do(step)
          if (step.op === 'turn') await new Promise<void>(resolve => { setImmediate(resolve) })
          world.check()
        }
        await world.finish()
      } finally {
        await world.bench.access.close()
      }
    }), { numRuns: phone === tablet ? 150 : 75 })
    t.pass('for all of them')
  })
}
