// Prints the test files of a TAP run that took longest, and what all took together: whoever wants a shorter run starts there.
import { readFileSync } from 'node:fs'
const files = [...readFileSync(process.argv[2], 'utf8').matchAll(/^(?:not )?ok \d+ - (\S+\.test\.js) # time=([\d.]+)ms/gm)]
  .map(([, file, time]) => ({ file, seconds: Number(time) / 1000 }))
  .sort((a, b) => b.seconds - a.seconds)
const all = files.reduce((sum, file) => sum + file.seconds, 0)
console.log(`${files.length} files, ${Math.round(all)} s of files; the slowest: ` +
  files.slice(0, Number(process.argv[3] ?? 40)).map(({ file, seconds }) => `${file.replace('dist/test/', '').replace('.test.js', '')} ${Math.round(seconds)}`).join(', '))
