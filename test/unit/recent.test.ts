/** What was committed a moment ago, for sessions that are a little behind. */
import t from 'tap'
import { Recent } from '../../broker/gateway/delivery/recent.ts'
import type { Entry } from '../../broker/gateway/delivery/stream.ts'

const entry = (seq: number, bytes = 10): Entry => ({ seq, payload: Buffer.alloc(bytes, 'x') })
/** Who has had the entries up to `sentTo`. */
const at = (sentTo: number): { sentTo: number } => ({ sentTo })
/** Who is behind by more than is kept, and holds all of it. */
const last = at(-1)
const seqs = (entries: Entry[] | undefined): number[] | undefined => entries?.map(({ seq }) => seq)

await t.test('a log is kept from the first entry on that somebody had to wait for', t => {
  const recent = new Recent()
  recent.note('d:a:b', entry(1))
  t.equal(recent.after('d:a:b', at(0), 10, Infinity), undefined, 'nobody is behind')
  recent.begin('d:a:b', entry(2), last)
  recent.note('d:a:b', entry(3))
  recent.note('d:a:c', entry(1))
  recent.begin('d:a:b', entry(3), last)
  t.same(seqs(recent.after('d:a:b', at(1), 10, Infinity)), [2, 3])
  t.same(seqs(recent.after('d:a:b', at(2), 10, Infinity)), [3])
  t.same(seqs(recent.after('d:a:b', at(1), 1, Infinity)), [2])
  t.equal(recent.after('d:a:b', at(0), 10, Infinity), undefined, 'the first one is not here: the store has it')
  t.equal(recent.after('d:a:b', at(3), 10, Infinity), undefined, 'there is no later one')
  t.equal(recent.after('d:a:c', at(0), 10, Infinity), undefined)
  t.equal(recent.bytes, 20)
  t.end()
})

await t.test('a gap ends it, a repeat does not', t => {
  const recent = new Recent()
  recent.begin('g:x', entry(5), last)
  recent.note('g:x', entry(5))
  recent.note('g:x', entry(4))
  t.same(seqs(recent.after('g:x', at(4), 10, Infinity)), [5])
  recent.note('g:x', entry(7))
  t.equal(recent.after('g:x', at(4), 10, Infinity), undefined)
  t.equal(recent.after('g:x', at(6), 10, Infinity), undefined)
  t.equal(recent.bytes, 0)
  t.end()
})

await t.test('so many entries of a log are kept, the newest', t => {
  const recent = new Recent({ maxEntries: 3 })
  recent.begin('d:a:b', entry(1), last)
  for (let seq = 2; seq <= 5000; seq++) {
    recent.note('d:a:b', entry(seq))
    if (seq < 3) continue
    const oldest = Math.max(1, seq - 2)
    if (!t.passing()) break
    const kept = seqs(recent.after('d:a:b', at(oldest - 1), 10, Infinity))
    if (kept?.length !== 3 || kept[0] !== oldest) t.fail(`${seq}: ${String(kept)}`)
    if (seq > 3 && recent.after('d:a:b', at(oldest - 2), 10, Infinity) !== undefined) t.fail(`${seq}: too many`)
  }
  t.equal(recent.bytes, 30)
  t.end()
})

await t.test('a page has about so many bytes, and at least one entry', t => {
  const recent = new Recent()
  recent.begin('d:a:b', entry(1, 100), last)
  for (let seq = 2; seq <= 10; seq++) recent.note('d:a:b', entry(seq, 100))
  t.same(seqs(recent.after('d:a:b', at(0), 10, 350)), [1, 2, 3])
  t.same(seqs(recent.after('d:a:b', at(3), 10, 1)), [4])
  t.end()
})

await t.test('so many bytes are kept, and what was kept for longest goes first', t => {
  const recent = new Recent({ maxBytes: 100 })
  recent.begin('d:a:b', entry(1, 40), last)
  recent.begin('d:a:c', entry(1, 40), last)
  recent.note('d:a:c', entry(2, 40))
  t.equal(recent.after('d:a:b', at(0), 10, Infinity), undefined)
  t.same(seqs(recent.after('d:a:c', at(0), 10, Infinity)), [1, 2])
  t.equal(recent.bytes, 80)
  recent.note('d:a:c', entry(3, 1000))
  t.equal(recent.after('d:a:c', at(0), 10, Infinity), undefined, 'also when it is alone')
  t.equal(recent.bytes, 0)
  t.end()
})

await t.test('what nobody reads on from goes, and every entry after two trims', t => {
  const recent = new Recent()
  recent.begin('d:a:b', entry(1), last)
  recent.begin('d:a:c', entry(1), last)
  recent.trim()
  t.same(seqs(recent.after('d:a:b', at(0), 10, Infinity)), [1])
  recent.note('d:a:b', entry(2))
  recent.trim()
  t.equal(recent.after('d:a:b', at(0), 10, Infinity), undefined, 'the first one is too old')
  t.same(seqs(recent.after('d:a:b', at(1), 10, Infinity)), [2])
  t.equal(recent.after('d:a:c', at(0), 10, Infinity), undefined)
  t.equal(recent.bytes, 10)
  recent.trim()
  t.equal(recent.bytes, 0)
  t.end()
})

await t.test('what all who are behind have had goes', t => {
  const recent = new Recent()
  const [slow, fast] = [{ sentTo: 4 }, { sentTo: 4 }]
  recent.begin('d:a:b', entry(5), slow)
  for (let seq = 6; seq <= 10; seq++) recent.note('d:a:b', entry(seq))
  recent.begin('d:a:b', entry(10), fast)
  t.same(seqs(recent.after('d:a:b', fast, 3, Infinity)), [5, 6, 7])
  fast.sentTo = 7
  t.same(seqs(recent.after('d:a:b', fast, 10, Infinity)), [8, 9, 10])
  t.equal(recent.bytes, 60, 'the other one has not had them')
  slow.sentTo = 6
  t.same(seqs(recent.after('d:a:b', slow, 10, Infinity)), [7, 8, 9, 10])
  t.equal(recent.bytes, 40)
  t.equal(recent.after('d:a:b', at(4), 10, Infinity), undefined, 'whoever else comes asks the store')
  t.end()
})

await t.test('nothing is kept when nobody is behind any more', t => {
  const recent = new Recent()
  const [one, other] = [at(0), at(0)]
  recent.begin('d:a:b', entry(1), one)
  recent.note('d:a:b', entry(2))
  recent.after('d:a:b', other, 10, Infinity)
  recent.done('d:a:b', one)
  recent.done('d:a:c', other)
  t.equal(recent.bytes, 20)
  recent.done('d:a:b', other)
  t.equal(recent.bytes, 0)
  recent.note('d:a:b', entry(3))
  t.equal(recent.after('d:a:b', at(2), 10, Infinity), undefined)
  recent.done('d:a:b', other)
  t.end()
})
