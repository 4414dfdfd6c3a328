/** Sessions that catch up leave the core to those who send: after a number of messages they pause, and are woken. */
import t from 'tap'
import { Pump } from '../../broker/gateway/delivery/pump.ts'
import type { Session } from '../../broker/gateway/delivery/session.ts'
import type { Engine } from '../../broker/link/port.ts'
import { Topics } from '../../broker/topics.ts'

const commit = { kind: 'message', conv: 'd:a:b', seq: 1, from: 'a', payload: Buffer.from('{}') } as const

function behind (): { session: Session, woken: Promise<void>, times: () => number } {
  let times = 0
  let wake = (): void => {}
  const woken = new Promise<void>(resolve => { wake = resolve })
  const session = { catchUp: () => { times++; wake() } } as unknown as Session
  return { session, woken, times: () => times }
}

await t.test('alone they never pause, beside others after 128 messages, together', async t => {
  let now = 1_000_000
  let wall = 1_790_000_000_000
  const pump = new Pump({} as unknown as Engine, new Topics('im'), () => wall, () => now)
  t.teardown(() => pump.close())
  const [one, other] = [behind(), behind()]
  pump.wasRead(1000)
  t.notOk(pump.pauses(one.session), 'nobody sends')
  pump.message(commit)
  t.ok(pump.pauses(one.session))
  t.ok(pump.pauses(one.session), 'asked twice')
  t.ok(pump.pauses(other.session))
  await Promise.all([one.woken, other.woken])
  t.equal(one.times(), 1, 'woken once')
  pump.wasRead(127)
  t.notOk(pump.pauses(one.session), 'not enough was read since')
  pump.wasRead(1)
  t.ok(pump.pauses(one.session), 'they sent a moment ago')
  now += 51
  wall -= 3_600_000
  const third = behind()
  pump.wasRead(128)
  await until(() => !pump.pauses(third.session))
  t.notOk(pump.pauses(third.session), 'nobody has sent for a while, whatever the machine\'s clock says')
})

/** Timers run on meanwhile. */
async function until (done: () => boolean): Promise<void> {
  while (!done()) await new Promise<void>(resolve => { setImmediate(resolve) })
}

await t.test('closing ends a pause', async t => {
  const pump = new Pump({} as unknown as Engine, new Topics('im'))
  const one = behind()
  pump.wasRead(128)
  pump.message(commit)
  t.ok(pump.pauses(one.session))
  pump.close()
  // Nothing is to happen: a later timer than the pause's.
  await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(one.times(), 0)
})
