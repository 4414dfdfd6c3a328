/** Work in pieces: who is next, and how much of it one turn of the event loop does. */
import t from 'tap'
import { Turns } from '../../broker/turns.ts'

interface Bench { turns: Turns, ran: string[], clock: { now: number }, turn: () => number }

/** Turns whose event loop is the test's: `turn` runs what was due when it was called, and what ends the turn. It answers how many pieces that were. */
function bench (options: { maxPieces?: number, budgetMs?: number, contended?: () => boolean, rested?: (run: () => void, restMs: number) => void } = {}): Bench {
  let due: Array<() => void> = []
  const clock = { now: 0 }
  const turns = new Turns({ ...options, now: () => clock.now, later: run => { due.push(run) }, after: run => { due.push(run) } })
  const run = (): number => {
    const now = due
    due = []
    for (const one of now) one()
    return now.length
  }
  const turn = (): number => {
    const pieces = run()
    run()
    return pieces
  }
  return { turns, ran: [], clock, turn }
}

await t.test('one piece of each key after the other, each key in its own order', t => {
  const { turns, ran, turn } = bench()
  for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'b2']) turns.add(name.charAt(0), () => { ran.push(name) })
  while (turns.size > 0) turn()
  t.strictSame(ran, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
  t.equal(turn(), 0, 'nothing is scheduled when nothing waits')
  t.end()
})

await t.test('a key that comes late waits for one piece of each of the others, not for all of them', t => {
  const { turns, ran, turn } = bench({ maxPieces: 2 })
  for (let i = 0; i < 100; i++) for (const key of ['a', 'b']) turns.add(key, () => { ran.push(key) })
  turn()
  turns.add('late', () => { ran.push('late') })
  while (turns.size > 0) turn()
  t.ok(ran.indexOf('late') <= 4 + 2, `it was number ${ran.indexOf('late')}`)
  t.end()
})

await t.test('a turn ends when its time is used up', t => {
  const { turns, ran, clock, turn } = bench({ budgetMs: 2 })
  for (let i = 0; i < 10; i++) turns.add('a', () => { ran.push('a'); clock.now += 1 })
  turn()
  t.equal(ran.length, 2)
  turn()
  t.equal(ran.length, 4)
  turns.add('slow', () => { ran.push('slow'); clock.now += 1000 })
  while (turns.size > 0) turn()
  t.equal(ran.length, 11, 'a piece that is too long is run all the same, alone')
  t.end()
})

await t.test('a turn runs so many pieces at most', t => {
  const { turns, ran, turn } = bench({ maxPieces: 3 })
  for (let i = 0; i < 7; i++) turns.add('a', () => { ran.push('a') })
  const counts = [turn(), turn(), turn()]
  t.strictSame(counts, [3, 3, 1])
  t.equal(ran.length, 7)
  t.end()
})

await t.test('a piece may add pieces, and next() resolves in its turn', async t => {
  const { turns, ran, turn } = bench()
  turns.add('a', () => {
    ran.push('first')
    turns.add('a', () => { ran.push('third') })
  })
  const waited = turns.next('b').then(() => { ran.push('promise') })
  turn()
  await waited
  turn()
  t.strictSame(ran, ['first', 'promise', 'third'])
})

await t.test('while others wait for more than the event loop, work is followed by a rest as long as itself', t => {
  const rests: number[] = []
  let wake = (): void => {}
  let contended = true
  const { turns, ran, clock, turn } = bench({ budgetMs: 2, contended: () => contended, rested: (run, ms) => { rests.push(ms); wake = run } })
  const add = (name: string, ms: number): void => { turns.add('a', () => { ran.push(name); clock.now += ms }) }
  add('short', 1)
  turn()
  t.strictSame(rests, [], 'short pieces are added up')
  add('long', 5)
  turn()
  t.strictSame(rests, [6])
  add('later', 100)
  t.equal(turn(), 0, 'nothing runs during the rest')
  wake()
  turn()
  t.strictSame(ran, ['short', 'long', 'later'])
  t.strictSame(rests, [6, 10], 'a rest has its bounds')
  wake()
  turns.spend(3)
  turns.spend(1000)
  add('after', 0)
  turn()
  t.strictSame(rests, [6, 10, 8], 'what was done elsewhere counts, a little')
  wake()
  contended = false
  add('alone', 50)
  add('at once', 0)
  turn()
  turn()
  t.equal(rests.length, 3, 'nobody else: no rest')
  t.equal(ran.at(-1), 'at once')
  t.end()
})
