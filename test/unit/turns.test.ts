/** Work in pieces: who is next, and how much of it one turn of the event loop does. */
import t from 'tap'
import { Turns } from '../../broker/turns.ts'

interface Bench { turns: Turns, ran: string[], clock: { now: number }, turn: () => number }

/** Turns whose event loop is the test's: `turn` runs what was due when it was called. */
function bench (options: { maxPieces?: number, budgetMs?: number } = {}): Bench {
  let due: Array<() => void> = []
  const clock = { now: 0 }
  const turns = new Turns({ ...options, now: () => clock.now, later: run => { due.push(run) } })
  const turn = (): number => {
    const now = due
    due = []
    for (const run of now) run()
    return now.length
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
