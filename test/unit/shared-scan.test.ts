/** Short ranges that many ask for at the same time are read by one iterator, with few trips. */
import t from 'tap'
import { SharedScan } from '../../broker/store/level/shared-scan.ts'

type Row = [string, string]
interface Range { gt: string, lt: string }

const names = Array.from({ length: 200 }, (_, i) => `k${String(i).padStart(3, '0')}`)

/** A store of rows that counts what is asked of it. */
function store (keys: readonly string[] = names) {
  const counts = { opened: 0, seeks: 0, reads: 0, alone: 0, closed: 0 }
  const inside = ({ gt, lt }: Range, limit: number): Row[] => keys.filter(key => key > gt && key < lt && key !== 'damaged').slice(0, limit).map(key => [key, `of ${key}`])
  const scan = new SharedScan(
    async () => {
      counts.opened++
      let at = 0
      return {
        seek (target: string) { counts.seeks++; at = keys.findIndex(key => key >= target); if (at < 0) at = keys.length },
        async nextv (size: number) {
          counts.reads++
          const rows = keys.slice(at, at + size).map(key => [key, `of ${key}`])
          at += rows.length
          await new Promise(resolve => { setImmediate(resolve) })
          if (rows.some(([key]) => key === 'torn')) throw new Error('corruption')
          return rows
        },
        async close () { counts.closed++ }
      } as never
    },
    async (range, limit) => { counts.alone++; return inside(range, limit) },
    (key, stored) => key === 'damaged' ? undefined : stored
  )
  return { scan, counts, inside }
}

await t.test('one range is read by itself', async t => {
  const { scan, counts, inside } = store()
  const range = { gt: 'k003', lt: 'k010' }
  t.same(await scan.rows(range, 100), inside(range, 100))
  t.match(counts, { opened: 0, alone: 1 })
})

await t.test('ranges side by side take one trip, in whatever order they are asked for', async t => {
  const { scan, counts, inside } = store()
  const ranges = [{ gt: 'k003', lt: 'k005' }, { gt: 'k000', lt: 'k002' }, { gt: 'k002', lt: 'k003' }, { gt: 'k003', lt: 'k005' }, { gt: 'k0010', lt: 'k0011' }]
  t.same(await Promise.all(ranges.map(range => scan.rows(range, 100))), ranges.map(range => inside(range, 100)))
  t.match(counts, { opened: 1, seeks: 1, reads: 1, alone: 0, closed: 1 })
})

await t.test('far ranges, long ones, limits and the end of the store', async t => {
  const { scan, counts, inside } = store()
  const asked: Array<[Range, number]> = [
    [{ gt: 'k150', lt: 'z' }, Infinity], [{ gt: 'k010', lt: 'k140' }, Infinity], [{ gt: 'k010', lt: 'k140' }, 3], [{ gt: 'k011', lt: 'k013' }, 100], [{ gt: 'k139', lt: 'k199' }, 50],
    [{ gt: 'k199', lt: 'z' }, 1], [{ gt: 'x', lt: 'z' }, 10], [{ gt: 'a', lt: 'b' }, 10], [{ gt: 'k000', lt: 'k004' }, 0]
  ]
  t.same(await Promise.all(asked.map(([range, limit]) => scan.rows(range, limit))), asked.map(([range, limit]) => inside(range, limit)))
  t.match(counts, { opened: 1, closed: 1, alone: 0 })
})

await t.test('any ranges at any time are answered as each by itself', async t => {
  const { scan, counts, inside } = store()
  let random = 1
  const next = (max: number): number => (random = random * 48271 % 2147483647) % max
  for (let round = 0; round < 50; round++) {
    const asked = Array.from({ length: 1 + next(60) }, (): [Range, number] => {
      const from = next(200)
      return [{ gt: names[from] as string, lt: `k${String(from + next(30)).padStart(3, '0')}${next(2) === 0 ? '' : '5'}` }, next(4) === 0 ? 1 + next(5) : Infinity]
    })
    const later = asked.splice(next(asked.length))
    const first = asked.map(([range, limit]) => scan.rows(range, limit))
    await new Promise(resolve => { setImmediate(resolve) })
    const answers = await Promise.all([...first, ...later.map(([range, limit]) => scan.rows(range, limit))])
    t.same(answers, [...asked, ...later].map(([range, limit]) => inside(range, limit)))
  }
  t.equal(counts.opened, counts.closed)
})

await t.test('a damaged row is left out, and one that cannot be read is the trouble of its range', async t => {
  const keys = ['a', 'b', 'damaged', 'e', 'm', 'torn', 'y1', 'y2', 'y3', 'y4', 'y5', 'y6', 'y7', 'y8', 'y9', 'z']
  const { scan, counts, inside } = store(keys)
  const ranges = [{ gt: 'a', lt: 'f' }, { gt: 'l', lt: 'u' }, { gt: 'y', lt: 'y3' }]
  t.same(await Promise.all(ranges.map(range => scan.rows(range, 2))), ranges.map(range => inside(range, 2)))
  t.ok(counts.alone >= 1)
  t.equal(counts.closed, 1)
})

await t.test('at most two iterators are open, and those who wait go together', async t => {
  const { scan, counts, inside } = store()
  const ask = (at: number): Promise<Row[]> => scan.rows({ gt: names[at] as string, lt: names[at + 3] as string }, 100)
  const answers: Array<Promise<Row[]>> = []
  for (let i = 0; i < 100; i++) {
    answers.push(ask(i), ask(i + 50))
    await Promise.resolve()
    t.ok(counts.opened - counts.closed <= 2)
  }
  const all = await Promise.all(answers)
  t.same(all[7], inside({ gt: names[53] as string, lt: names[56] as string }, 100))
  t.ok(counts.opened <= 10, `${counts.opened} iterators`)
})
