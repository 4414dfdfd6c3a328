/** Those who catch up leave the core to those who send: after a number of messages they pause, and are woken. */
import t from 'tap'
import { Pauses, type Pausing } from '../../broker/gateway/delivery/pauses.ts'
import { Pump } from '../../broker/gateway/delivery/pump.ts'
import { FakeEngine } from '../support/fake-engine.ts'

const commit = { kind: 'message', conv: 'd:a:b', seq: 1, from: 'a', payload: Buffer.from('{}') } as const

function behind (): { session: Pausing, woken: Promise<void>, times: () => number } {
  let times = 0
  let wake = (): void => {}
  const woken = new Promise<void>(resolve => { wake = resolve })
  return { session: { catchUp: () => { times++; wake() } }, woken, times: () => times }
}

await t.test('alone they never pause, beside others after 128 messages, together', async t => {
  let now = 1_000_000
  const pauses = new Pauses(() => now)
  t.teardown(() => pauses.close())
  const [one, other] = [behind(), behind()]
  pauses.wasRead(1000)
  t.notOk(pauses.holds(one.session), 'nobody sends')
  pauses.committed()
  t.ok(pauses.holds(one.session))
  t.ok(pauses.holds(one.session), 'asked twice')
  t.ok(pauses.holds(other.session))
  await Promise.all([one.woken, other.woken])
  t.equal(one.times(), 1, 'woken once')
  pauses.wasRead(127)
  t.notOk(pauses.holds(one.session), 'not enough was read since')
  pauses.wasRead(1)
  t.ok(pauses.holds(one.session), 'they sent a moment ago')
  now += 51
  const third = behind()
  pauses.wasRead(128)
  await until(() => !pauses.holds(third.session))
  t.notOk(pauses.holds(third.session), 'nobody has sent for a while')
})

/** Timers run on meanwhile. */
async function until (done: () => boolean): Promise<void> {
  while (!done()) await new Promise<void>(resolve => { setImmediate(resolve) })
}

await t.test('the pump says when something was committed, by a clock that only goes forward', async t => {
  let now = 1_000_000
  let wall = 1_790_000_000_000
  const pump = new Pump(new FakeEngine(), { now: () => wall, steady: () => now })
  t.teardown(() => { pump.close() })
  t.notOk(pump.pauses.sending)
  pump.message(commit)
  wall -= 3_600_000
  t.ok(pump.pauses.sending, 'whatever the machine\'s clock says')
  now += 51
  t.notOk(pump.pauses.sending)
})

await t.test('closing ends a pause', async t => {
  const pump = new Pump(new FakeEngine())
  const one = behind()
  pump.pauses.wasRead(128)
  pump.message(commit)
  t.ok(pump.pauses.holds(one.session))
  pump.close()
  // Nothing is to happen: a later timer than the pause's.
  await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(one.times(), 0)
})
