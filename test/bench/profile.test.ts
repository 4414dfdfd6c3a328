/** What `--profile` makes of a profile that Node wrote. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { Profiler, areaOf, byPart, profileTable } from '../../bench/profile.ts'
import type { CpuProfile } from '../../bench/profile.ts'

const frame = (functionName: string, url = ''): { functionName: string, url: string } => ({ functionName, url })
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 3, 4, 8] },
    { id: 2, callFrame: frame('(idle)') },
    { id: 3, callFrame: frame('(garbage collector)') },
    { id: 4, callFrame: frame('onread', 'node:internal/stream_base_commons'), children: [5] },
    { id: 5, callFrame: frame('take', 'file:///x/dist/broker/gateway/reading.js'), children: [6, 7] },
    { id: 6, callFrame: frame('writev', 'node:net') },
    { id: 7, callFrame: frame('put', 'file:///x/node_modules/classic-level/chained-batch.js') },
    { id: 8, callFrame: frame('(program)') }
  ],
  samples: [2, 3, 4, 5, 6, 7, 8],
  timeDeltas: [1000, 10, 20, 30, 40, 100, 5000]
}

await t.test('time of Node counts for the file that called it; waiting does not count', async t => {
  t.same([...byPart(profile)], [
    ['(garbage collector)', 10],
    ['node:internal/stream_base_commons', 20],
    ['broker/gateway/reading', 70],
    ['classic-level/chained-batch.js', 100]
  ])
  t.equal(profileTable([profile], 30), '   50.0 %  classic-level/chained-batch.js\n   35.0 %  broker/gateway/reading')
  t.equal(profileTable([]), '')
  t.equal(profileTable([profile], 10, areaOf), '   50.0 %  binding of LevelDB\n   35.0 %  broker/gateway\n   10.0 %  Node')
  t.equal(areaOf('(garbage collector)'), '(garbage collector)')
  t.equal(areaOf('broker/turns'), 'broker')
  t.equal(areaOf('ws/lib/receiver.js'), 'other packages')
})

await t.test('a program started with process.execPath is profiled, and the next one is not', async t => {
  const node = process.execPath
  const script = join(t.testdir(), 'busy.mjs')
  writeFileSync(script, 'const end = Date.now() + 100; while (Date.now() < end) JSON.parse("[1,2,3]")')
  const profiler = new Profiler()
  t.teardown(() => { profiler.close() })
  execFileSync(process.execPath, [script])
  profiler.take('busy')
  t.match(profiler.report(), /^busy, own time.*by area:.*by file:.*busy\.mjs/s)
  t.equal(profiler.report(), '', 'said once')
  profiler.close()
  t.equal(process.execPath, node)
})
