import t from 'tap'
import { Burst } from '../../broker/store/mongodb/burst.ts'

await t.test('the first failure of a burst, however long it lasts', async t => {
  const burst = new Burst()
  t.same([0, 1, 9_000, 18_000, 27_999].map(at => burst.begins(at)), [true, false, false, false, false])
  t.equal(burst.begins(37_998), false, 'ten seconds are counted from the last one')
  t.same([47_998, 47_999].map(at => burst.begins(at)), [true, false], 'the next burst')
})
