/** Rows that many ask for at the same time are read together. */
import t from 'tap'
import { Gathered } from '../../broker/store/level/gathered.ts'

interface Read { keys: string[], done (): void, fail (error: Error): void }

/** A store whose reads are answered one by one. */
function slow (): { gathered: Gathered, reads: Read[] } {
  const reads: Read[] = []
  const gathered = new Gathered(keys => new Promise((resolve, reject) => {
    reads.push({ keys, done: () => { resolve(keys.map(key => key === 'none' ? undefined : `of ${key}`)) }, fail: reject })
  }))
  return { gathered, reads }
}

const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

await t.test('who comes while nobody reads does not wait; later ones go together', async t => {
  const { gathered, reads } = slow()
  const answers = ['a', 'b', 'c', 'd'].map(key => gathered.read([key, 'none']))
  t.same(reads.map(({ keys }) => keys), [['a', 'none'], ['b', 'none']])
  reads[1]?.done()
  await turn()
  t.same(reads[2]?.keys, ['c', 'none', 'd', 'none'])
  t.same(await answers[1], ['of b', undefined])
  reads[0]?.done()
  reads[2]?.done()
  t.same(await Promise.all(answers), ['a', 'b', 'c', 'd'].map(key => [`of ${key}`, undefined]))
  await turn()
  t.equal(reads.length, 3)
  const later = gathered.read(['e'])
  t.same(reads[3]?.keys, ['e'], 'nobody reads: at once')
  reads[3]?.done()
  t.same(await later, ['of e'])
})

await t.test('many keys go by themselves, and a joint read has its bound', async t => {
  const { gathered, reads } = slow()
  const keys = (count: number, name: string): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`)
  const answers = [gathered.read(['a']), gathered.read(['b']), gathered.read(keys(17, 'x'))]
  t.equal(reads.length, 3)
  for (let i = 0; i < 40; i++) answers.push(gathered.read(keys(16, `y${i}-`)))
  t.equal(reads.length, 3)
  for (let i = 0; i < reads.length; i++) {
    reads[i]?.done()
    await turn()
  }
  t.same(reads.slice(3).map(read => read.keys.length), Array.from({ length: 10 }, () => 64))
  for (const [i, answer] of (await Promise.all(answers)).slice(3).entries()) t.same(answer, keys(16, `of y${i}-`))
})

await t.test('a row that cannot be read is the trouble of who asked for it', async t => {
  const { gathered, reads } = slow()
  const first = [gathered.read(['a']), gathered.read(['b'])]
  const bad = gathered.read(['bad'])
  const good = gathered.read(['good'])
  reads[0]?.done()
  await turn()
  t.same(reads[2]?.keys, ['bad', 'good'])
  reads[2]?.fail(new Error('corruption'))
  await turn()
  t.same(reads.slice(3).map(read => read.keys), [['bad'], ['good']])
  reads[3]?.fail(new Error('corruption of bad'))
  reads[4]?.done()
  await t.rejects(bad, /corruption of bad/)
  t.same(await good, ['of good'])
  reads[1]?.fail(new Error('alone'))
  t.same(await first[0], ['of a'])
  await t.rejects(first[1] as Promise<unknown>, /alone/)
  const again = gathered.read(['c'])
  reads[5]?.done()
  t.same(await again, ['of c'], 'it goes on')
})
