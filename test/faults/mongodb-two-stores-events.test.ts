/**
 * Two processes on one database that append to the event logs of the same users: each event that was told is in the log under its
 * number (of a slot the last one), and who reads on from where they stood misses none. `SABETHES_TEST_SECONDS`: length of the load (default 8).
 */
import t from 'tap'
import type { FaultPlace } from '../../broker/store/mongodb/connection.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { NewEvent, Store, StoredEvent } from '../../broker/store/store.ts'
import { mongodbServer } from '../support/mongodb.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 8)
t.setTimeout((seconds + 150) * 1000)
const server = await mongodbServer(t)
const skip = server === undefined
const open = async (at?: (place: FaultPlace) => void | Promise<void>): Promise<Store> => {
  const store = await openMongoStore({ url: server?.url ?? '', database: server?.database ?? '', timeoutMs: 20_000, ...at === undefined ? {} : { faults: { at } } })
  t.teardown(() => store.close())
  return store
}

function event (user: string, content: string, slot?: string): NewEvent {
  return { op: 'event', user, ts: 3, content, ...slot === undefined ? {} : { slot } }
}

await t.test('one does not know what the other has written meanwhile', { skip }, async t => {
  const [left, right] = [await open(), await open()]
  const log = async (user: string): Promise<Array<[number, string]>> => (await right.events(user, 0, 99)).map(({ seq, content }) => [seq, content])
  const seqs = async (store: Store, ...events: NewEvent[]): Promise<number[]> => (await store.commit(events)).map(({ seq }) => seq)

  t.same(await seqs(left, event('ann', '1')), [1])
  t.same(await seqs(right, event('ann', '2'), event('ann', '3')), [2, 3])
  t.same(await seqs(left, event('ann', '4'), event('ben', '1'), event('ann', '5')), [4, 1, 5])
  t.same(await log('ann'), [[1, '1'], [2, '2'], [3, '3'], [4, '4'], [5, '5']], 'nothing takes the place of another event')

  t.same(await seqs(left, event('cat', '1', 'x')), [1])
  for (const seq of [2, 3]) t.same(await seqs(right, event('cat', `${seq}`, 'x')), [seq])
  t.same(await seqs(left, event('cat', '4')), [4], 'a number that a slot has left is not taken again')
  t.same(await log('cat'), [[3, '3'], [4, '4']])

  t.same(await seqs(left, event('dan', '1', 'x')), [1])
  for (const seq of [2, 3]) t.same(await seqs(right, event('dan', `${seq}`, 'x')), [seq])
  t.same(await seqs(left, event('dan', '4', 'x')), [4], 'a slot does not go back')
  t.same(await log('dan'), [[4, '4']])

  t.same(await seqs(left, event('eve', '1', 'x'), event('fay', '1')), [1, 1])
  for (const seq of [2, 3]) t.same(await seqs(right, event('eve', `${seq}`, 'x')), [seq])
  const [eve = 0, fay = 0, ...more] = await seqs(left, event('eve', '4', 'y'), event('fay', '2'), event('eve', '5'), event('eve', '6', 'y'))
  t.same([eve, ...more], [6, 7, 8], 'behind all that was tried')
  t.same(await log('eve'), [[3, '3'], [7, '5'], [8, '6']])
  t.same(await log('fay'), [[1, '1'], [fay, '2']], 'a log beside it')
  t.same(await seqs(right, event('eve', '7'), event('fay', '3')), [9, fay + 1])
  const fresh = await open()
  const heads = await Promise.all(['ann', 'cat', 'dan', 'eve', 'fay'].map(user => fresh.eventHead(user)))
  t.same(heads.map(({ seq }) => seq), [5, 4, 4, 9, fay + 1])
})

await t.test('one writes while the other is between two events of a slot and the head', { skip }, async t => {
  const right = await open()
  t.equal((await right.eventHead('gus')).seq, 0)
  let meanwhile: number[] = []
  let once = true
  const left = await open(async place => {
    if (place !== 'event heads' || !once) return
    once = false
    t.same((await right.events('gus', 1, 9)).map(({ seq, content }) => [seq, content]), [[2, '2']], 'what a reader sees, and has behind it from now on')
    meanwhile = (await right.commit([event('gus', '3')])).map(({ seq }) => seq)
  })
  const told = (await left.commit([event('gus', '1', 'x'), event('gus', '2', 'x')])).map(({ seq }) => seq)
  t.same(meanwhile, [3])
  t.same((await right.events('gus', 2, 9)).map(({ seq, content }) => [seq, content]), [[3, '3'], [told[1], '2']], 'the head had moved: the slot is behind it')
})

await t.test(`both at once, ${seconds} s`, { skip, timeout: (seconds + 120) * 1000 }, async t => {
  const stores = [await open(), await open()]
  const users = ['u1', 'u2', 'u3']
  const until = Date.now() + seconds * 1000
  const told: Array<{ op: NewEvent, seq: number }> = []
  let writing = true
  const write = async (store: Store, which: number): Promise<void> => {
    for (let round = 0; Date.now() < until; round++) {
      const ops = Array.from({ length: 1 + Math.floor(Math.random() * 6) }, (_, i) => {
        const slot = Math.random() < 0.6 ? `s${Math.floor(Math.random() * 3)}` : undefined
        return event(users[Math.floor(Math.random() * users.length)] as string, `${which} ${round} ${i}`, slot)
      })
      const outcomes = await store.commit(ops)
      for (const [i, op] of ops.entries()) told.push({ op, seq: outcomes[i]?.seq ?? 0 })
    }
  }
  /** A device that reads on and on. */
  const reader = await open()
  const seen = new Map(users.map(user => [user, new Set<string>()]))
  const read = async (): Promise<void> => {
    const cursors = new Map<string, number>()
    for (let last = false; ; last = !writing) {
      for (const user of users) {
        const events: StoredEvent[] = await reader.events(user, cursors.get(user) ?? 0, 1000)
        for (const { seq, content } of events) {
          seen.get(user)?.add(content)
          cursors.set(user, seq)
        }
      }
      if (last) return
    }
  }
  const reading = read()
  await Promise.all(stores.map(write))
  writing = false
  await reading

  const fresh = await open()
  for (const user of users) {
    const log = new Map((await fresh.events(user, 0, 1_000_000)).map(({ seq, content }) => [seq, content]))
    const mine = told.filter(({ op }) => op.user === user)
    t.equal(new Set(mine.map(({ seq }) => seq)).size, mine.length, `${user}: ${mine.length} events with as many numbers`)
    const plain = mine.filter(({ op }) => op.slot === undefined)
    t.same(plain.filter(({ op, seq }) => log.get(seq) !== op.content), [], `each of ${plain.length} without slot is where it was told to be`)
    const slots = new Map<string, { op: NewEvent, seq: number }>()
    for (const one of mine) if (one.op.slot !== undefined && one.seq > (slots.get(one.op.slot)?.seq ?? 0)) slots.set(one.op.slot, one)
    t.same([...slots.values()].filter(({ op, seq }) => log.get(seq) !== op.content), [], 'of each slot the last one')
    t.equal(log.size, plain.length + slots.size, 'and nothing else')
    const wanted = [...plain, ...slots.values()]
    t.same(wanted.filter(({ op }) => seen.get(user)?.has(op.content) !== true), [], 'a reader has missed none')
    t.equal((await fresh.eventHead(user)).seq, Math.max(...mine.map(({ seq }) => seq)))
  }
})
