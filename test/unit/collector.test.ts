import t from 'tap'
import { markOnOwnThread } from '../../broker/collector.ts'

await t.test('only with one core V8 marks on the event loop\'s thread', t => {
  const flags: string[] = []
  const set = (flag: string): void => { flags.push(flag) }
  t.equal(markOnOwnThread(2, set), false)
  t.same(flags, [])
  t.equal(markOnOwnThread(1, set), true)
  t.same(flags, ['--no-concurrent-marking'])
  t.end()
})
