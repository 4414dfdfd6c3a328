import { pino } from 'pino'
import t from 'tap'
import { ServerClock } from '../../broker/server-clock.ts'

function clock ({ newest = 0, maxBackMs = 10_000_000 } = {}) {
  const at = { wall: 1_000_000_000, steady: 5 }
  const lines: string[] = []
  const log = pino({}, { write (line: string) { lines.push(line) } })
  const server = new ServerClock({ wall: () => at.wall, steady: () => at.steady, newest, maxBackMs, log })
  return { at, lines, server, pass (ms: number) { at.wall += ms; at.steady += ms } }
}

await t.test('it is the machine\'s clock, while that goes forward', async t => {
  const { at, server, pass } = clock()
  t.equal(server.now(), at.wall)
  pass(7)
  t.equal(server.now(), at.wall)
  at.wall += 3_600_000
  t.equal(server.now(), at.wall, 'also in leaps')
})

await t.test('set back, time is slow until the clock has caught up', async t => {
  const { at, lines, server, pass } = clock()
  const before = server.now()
  at.wall -= 3_600_000
  t.equal(server.now(), before, 'it does not go back')
  pass(1_000)
  t.equal(server.now(), before + 100, 'and does not stand still: times keep their order')
  at.wall -= 600_000
  t.equal(server.now(), before + 100, 'a second time')
  pass(1_000)
  t.equal(server.now(), before + 200)
  pass(4_800_000)
  t.equal(server.now(), at.wall, 'then it is right again')
  t.equal(lines.length, 1)
})

await t.test('behind what the store holds', async t => {
  const { at, server, pass } = clock({ newest: 1_000_000_000 + 5_000_000 })
  t.equal(server.now(), 1_005_000_000)
  pass(6_000_000)
  t.equal(server.now(), at.wall)
})

await t.test('a clock that was years ahead does not stay there', async t => {
  const { at, lines, server } = clock({ newest: 1_000_000_000 + 10_000_001 })
  t.equal(server.now(), at.wall)
  t.match(lines, [/it is believed/])
  at.wall += 400_000_000_000
  t.equal(server.now(), at.wall)
  at.wall -= 400_000_000_000
  t.equal(server.now(), at.wall, 'also when it is corrected while the server runs')
})
