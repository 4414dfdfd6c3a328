/** Whatever happens, delivery keeps its promises: to MQTT connections, and to a sink that is not MQTT. */
import fc from 'fast-check'
import t from 'tap'
import { step, World, type DeviceKind } from '../support/pump-world.ts'
import { settled } from '../support/memory-client.ts'

const kinds: ReadonlyArray<readonly [DeviceKind, DeviceKind]> = [['mqtt', 'mqtt'], ['collecting', 'collecting'], ['collecting', 'mqtt']]

for (const [phone, tablet] of kinds) {
  await t.test(`delivery keeps its promises: ${phone} and ${tablet}`, async t => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async steps => {
      const world = new World([phone, tablet])
      try {
        await begin(world)
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

await t.test('a sink that is not MQTT gets exactly what an MQTT session gets', async t => {
  // Cursors are reported after each step: not by the clock, which may strike for one world and not yet for the other.
  const { setTimeout: after } = globalThis
  const unwound = { unref: () => {} } as unknown as NodeJS.Timeout
  globalThis.setTimeout = ((run: () => void, ms = 0) => ms > 1 ? unwound : after(run, ms)) as typeof setTimeout
  t.teardown(() => { globalThis.setTimeout = after })
  let compared = 0
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async steps => {
    const one = new World(['mqtt', 'mqtt'])
    const other = new World(['collecting', 'collecting'])
    try {
      for (const world of [one, other]) await begin(world)
      await alike(one, other, 'the beginning')
      for (const step of steps) {
        // What a device asks for behind something that waits races with what that lets go: it may come before or after.
        if (['connect', 'leave', 'subscribe', 'unsubscribe'].includes(step.op) && one.bench.engine.held.length > 0) continue
        for (const world of [one, other]) world.do(step)
        await alike(one, other, JSON.stringify(step))
      }
      compared += one.devices.reduce((sum, { log }) => sum + log.length, 0)
      for (const world of [one, other]) await world.finish()
    } finally {
      for (const world of [one, other]) await world.bench.access.close()
    }
  }), { numRuns: 100 })
  t.ok(compared > 500, `${compared} messages`)
})

async function begin (world: World): Promise<void> {
  world.do({ op: 'connect', device: 0 })
  await settled(world.bench.engine)
  for (const filter of [0, 1, 2]) world.do({ op: 'subscribe', device: 0, filter })
}

/** After a step both worlds come to rest in the same state. A pause of those who are behind may end later in one of them. */
async function alike (one: World, other: World, step: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    for (const world of [one, other]) {
      await settled(world.bench.engine)
      // What was committed late is said now: an output comes long before its reader's answer, and that is reported.
      world.do({ op: 'turn' })
      await settled(world.bench.engine)
      world.do({ op: 'flush' })
      world.check()
    }
    try {
      return same(one, other)
    } catch (err) {
      if (attempt === 20) throw new Error(`after ${step}: ${(err as Error).message}`, { cause: err })
      await new Promise<void>(resolve => { setTimeout(resolve, 1) })
    }
  }
}

/** Throws when devices got different things, in content or order, or the engine has other cursors of them. */
function same (one: World, other: World): void {
  const [a, b] = [state(one), state(other)]
  if (a !== b) throw new Error(`MQTT:\n${a}\nanother sink:\n${b}`)
}

function state (world: World): string {
  const cursors = [...world.bench.engine.cursors].map(([key, { seq, sent }]) => `${key}: ${seq} ${sent}`).sort()
  return [...world.devices.map(device => device.log.join('\n')), ...cursors].join('\n')
}
