/** Rows of the database that many ask for at the same time are fetched together. */
import t from 'tap'
import { ReadTogether } from '../../broker/store/mongodb/read-together.ts'
import type { Wish } from '../../broker/store/mongodb/read-together.ts'

interface Fetch { wish: Wish<string>, done (): void, fail (error: Error): void }

/** A database whose answers the test gives; each says what it was asked. */
function slow (): { together: ReadTogether<string, string>, fetches: Fetch[] } {
  const fetches: Fetch[] = []
  const together = new ReadTogether<string, string>(wish => new Promise((resolve, reject) => {
    fetches.push({ wish, done: () => { resolve([...wish.convs, ...wish.members].join(' ')) }, fail: reject })
  }))
  return { together, fetches }
}

const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })
const many = (count: number, name: string): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`)

await t.test('who comes while few fetch does not wait; later ones go together, in a fetch that begins after they came', async t => {
  const { together, fetches } = slow()
  const answers = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(conv => together.read({ convs: [conv], members: [`of ${conv}`] }))
  t.same(fetches.map(({ wish }) => wish.convs), [['a'], ['b'], ['c'], ['d']])
  fetches[1]?.done()
  t.equal(await answers[1], 'b of b')
  await turn()
  t.same(fetches[4]?.wish, { convs: ['e', 'f', 'g'], members: ['of e', 'of f', 'of g'] })
  const late = together.read({ convs: ['h'], members: [] })
  t.equal(fetches.length, 5, 'what is under way is not for who comes now')
  fetches[4]?.done()
  t.same(await Promise.all(answers.slice(4)), Array(3).fill('e f g of e of f of g'))
  await turn()
  fetches[5]?.done()
  t.equal(await late, 'h')
  for (const at of [0, 2, 3]) fetches[at]?.done()
  t.same(await Promise.all([answers[0], answers[2], answers[3]]), ['a of a', 'c of c', 'd of d'])
})

await t.test('who asks for much goes alone, and no joint fetch is endless', async t => {
  const { together, fetches } = slow()
  const answers = ['a', 'b', 'c', 'd'].map(conv => together.read({ convs: [conv], members: [] }))
  const much = together.read({ convs: [], members: many(65, 'm') })
  t.equal(fetches.length, 5, 'at once')
  const more = Array.from({ length: 20 }, (_, i) => together.read({ convs: [], members: many(60, `${i}-`) }))
  for (const fetch of fetches.slice(0, 5)) fetch.done()
  await Promise.all([...answers, much])
  t.same(fetches.slice(5).map(({ wish }) => wish.members.length), [540, 540, 120])
  for (const fetch of fetches.slice(5)) fetch.done()
  await Promise.all(more)
})

await t.test('a fetch that fails fails for all who are in it, and the next ones go on', async t => {
  const { together, fetches } = slow()
  const first = ['a', 'b', 'c', 'd'].map(conv => together.read({ convs: [conv], members: [] }))
  const [e, f] = ['e', 'f'].map(conv => together.read({ convs: [conv], members: [] }))
  fetches[0]?.fail(new Error('away'))
  await t.rejects(first[0] as Promise<string>, { message: 'away' })
  await turn()
  fetches[4]?.fail(new Error('still away'))
  await t.rejects(e as Promise<string>, { message: 'still away' })
  await t.rejects(f as Promise<string>, { message: 'still away' })
  const after = together.read({ convs: ['g'], members: [] })
  fetches[5]?.done()
  t.equal(await after, 'g')
  for (const fetch of fetches.slice(1, 4)) fetch.done()
  await Promise.all(first.slice(1))
})
