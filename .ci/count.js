// Prints "passed failed skipped" of a TAP run: the totals that tap prints as its last comment.
import { readFileSync } from 'node:fs'
const text = readFileSync(process.argv[2], 'utf8')
const totals = [...text.matchAll(/^# \{ total: (\d+)(.*)\}$/gm)].at(-1)
if (totals === undefined) {
  console.error('the run printed no totals')
  process.exit(1)
}
const of = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals[2])?.[1] ?? 0)
console.log(of('pass'), of('fail'), of('skip') + of('todo'))
