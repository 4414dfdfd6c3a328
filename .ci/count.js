// Prints "passed failed skipped" of a TAP run: the totals that tap prints as its last comment. A run that was stopped has none: its assertions are counted,
// and that it did not end is one more that failed.
import { readFileSync } from 'node:fs'
const text = readFileSync(process.argv[2], 'utf8')
const totals = [...text.matchAll(/^# \{ total: (\d+)(.*)\}$/gm)].at(-1)
if (totals === undefined) {
  console.error('the run printed no totals: it did not end')
  const lines = text.match(/^ +(?:not )?ok \d.*$/gm) ?? []
  const failed = lines.filter(line => /^ +not ok/.test(line)).length
  console.log(lines.length - failed, failed + 1, 0)
} else {
  const of = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals[2])?.[1] ?? 0)
  console.log(of('pass'), of('fail'), of('skip') + of('todo'))
}
