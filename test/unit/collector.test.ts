import { execFileSync } from 'node:child_process'
import t from 'tap'
import { tuneCollector } from '../../broker/collector.ts'

await t.test('only with one core V8 marks on the event loop\'s thread; it never makes objects in the old generation', t => {
  const flags: string[] = []
  const set = (flag: string): void => { flags.push(flag) }
  t.equal(tuneCollector(2, set), false)
  t.same(flags.splice(0), ['--no-allocation-site-pretenuring'])
  t.equal(tuneCollector(1, set), true)
  t.same(flags, ['--no-allocation-site-pretenuring', '--no-concurrent-marking'])
  t.end()
})

await t.test('this V8 knows the flags that are set', t => {
  const known = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })
  const flags: string[] = []
  tuneCollector(1, flag => { flags.push(flag) })
  t.ok(flags.length > 0)
  for (const flag of flags) t.match(known, `  --${flag.slice('--no-'.length)} (`, flag)
  t.end()
})
