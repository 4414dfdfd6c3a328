/** Lines for a reader that may stall, kinds of lines that clients may not repeat at will, and text for people. */
import { pino } from 'pino'
import t from 'tap'
import { LineLimit } from '../../broker/log-limit.ts'
import { LogOutput } from '../../broker/log-output.ts'
import { lineText } from '../../broker/log-text.ts'
import { run } from '../support/server.ts'

/** A reader that takes `room` bytes and then nothing. */
class Reader {
  room = Infinity
  text = ''
  failure: string | undefined
  onTaken = (): void => {}
  readonly write = (bytes: Uint8Array): number => {
    if (this.failure !== undefined) throw Object.assign(new Error(this.failure), { code: this.failure })
    const taken = Math.min(this.room, bytes.length)
    if (taken === 0) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' })
    this.room -= taken
    this.text += Buffer.from(bytes.subarray(0, taken)).toString('utf8')
    this.onTaken()
    return taken
  }
}

await t.test('bufferBytes: a reader that stalls stops nobody; what does not fit is dropped, and told', async t => {
  const reader = new Reader()
  const output = new LogOutput({ maxBytes: 40, dropped: n => `${n} dropped\n`, write: reader.write })
  output.write('first\n')
  t.equal(reader.text, 'first\n', 'a reader that reads has it at once')
  reader.room = 3
  for (let i = 0; i < 100; i++) output.write(`line ${i} é\n`)
  t.equal(reader.text, 'first\nlin')
  reader.room = Infinity
  output.close()
  t.match(reader.text, /^first\nline 0 é\nline 1 é\nline 2 é\nline 3 é\n96 dropped\n$/, 'in order, whole, and counted')
})

await t.test('what waits is written when the reader comes back', async t => {
  const reader = new Reader()
  reader.room = 0
  const output = new LogOutput({ maxBytes: 4096, dropped: String, write: reader.write })
  output.write('late\n')
  t.equal(reader.text, '')
  reader.room = Infinity
  const read = new Promise<void>(resolve => { reader.onTaken = resolve })
  // Nothing else keeps this process: the output's timer does not.
  const alive = setInterval(() => {}, 1000)
  await read
  clearInterval(alive)
  t.equal(reader.text, 'late\n')
  output.close()
})

await t.test('a reader that is gone, or a full disk, ends nothing', async t => {
  const reader = new Reader()
  const output = new LogOutput({ maxBytes: 4096, dropped: String, write: reader.write })
  for (const failure of ['EPIPE', 'ENOSPC', 'EIO']) {
    reader.failure = failure
    output.write('lost\n')
  }
  reader.failure = undefined
  output.write('there again\n')
  t.equal(reader.text, 'there again\n')
  output.close()
})

await t.test('linesPerSecond: by kind; what is left out is counted', async t => {
  let now = 0
  const lines: Array<Record<string, unknown>> = []
  const limit = new LineLimit(2, () => now)
  const log = pino({
    level: 'trace',
    base: null,
    hooks: { logMethod (args, method, level) { limit.pass(this, args, method, level) } }
  }, { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  t.teardown(() => { limit.close() })
  const take = (): unknown[] => lines.splice(0).map(({ msg, code, n, leftOut, part }) => [msg, code, n, leftOut, part].filter(value => value !== undefined))
  const child = log.child({ part: 'x' })
  for (let n = 0; n < 10; n++) child.warn({ code: 'banned', n }, 'refused')
  child.warn({ code: 'forbidden', n: 10 }, 'refused')
  log.error('plain')
  t.strictSame(take(), [['refused', 'banned', 0, 'x'], ['refused', 'banned', 1, 'x'], ['refused', 'forbidden', 10, 'x'], ['plain']])
  now = 500
  child.warn({ code: 'banned', n: 11 }, 'refused')
  t.strictSame(take(), [['refused', 'banned', 11, 8, 'x']], 'with the next line')
  for (let n = 0; n < 5; n++) child.warn({ code: 'banned', n }, 'refused')
  for (let n = 0; n < 5; n++) log.error('plain')
  take()
  now = 3000
  limit.tell()
  t.strictSame(take(), [['refused', 'banned', 5, 'x'], ['plain', 3]], 'or by itself')
  limit.tell()
  t.strictSame(take(), [], 'once')
  for (let n = 0; n < 9; n++) log.debug('for those who look')
  for (let n = 0; n < 9; n++) log.fatal('last words')
  t.equal(take().length, 18)
})

await t.test('pretty: what clients named cannot write lines or move the cursor', async t => {
  const line = (fields: object): string => JSON.stringify({ level: 40, time: '2026-11-21T15:23:11.462Z', part: 'access', ...fields, msg: 'connection refused' })
  t.equal(lineText(line({ code: 'banned', user: 'bob', n: 7, list: ['a'] }), false), '15:23:11.462 WARN  access: connection refused code=banned user=bob n=7 list=["a"]\n')
  t.equal(lineText(line({ clientId: 'a b', empty: '' }), false), '15:23:11.462 WARN  access: connection refused clientId="a b" empty=""\n')
  const hostile = lineText(line({ clientId: 'x\u001b[2J\r\n15:00 FATAL\u009b\u007f\u2028' }), false)
  t.equal(hostile.split('\n').length, 2)
  // eslint-disable-next-line no-control-regex -- that is what must not be there
  t.notMatch(hostile.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028]/)
  t.ok(lineText(line({}), true).startsWith('15:23:11.462 \u001b[33mWARN \u001b[0m access: '))
  t.match(lineText(line({ err: { message: 'm', stack: 'Error: m\n    at x' } }), false), 'refused\n    Error: m\n        at x\n')
})

for (const [how, code] of [['process.exit(3)', 3], ['throw new Error("crash")', 1]] as const) {
  await t.test(`the last lines are written: ${how}`, async t => {
    const module = new URL('../../broker/log.js', import.meta.url).href
    // More than a pipe holds, at once, and then the end.
    const program = `
      import { createLog } from ${JSON.stringify(module)}
      const { log } = createLog({ level: 'info', pretty: false, linesPerSecond: 0, bufferBytes: 1e7 })
      for (let n = 0; n < 5000; n++) log.info({ n }, 'a line of some length')
      ${how}`
    const { code: exit, stderr } = await run(process.execPath, ['--input-type=module', '-e', program])
    t.equal(exit, code)
    const lines = stderr.split('\n').filter(line => line.startsWith('{'))
    t.strictSame(lines.map(line => (JSON.parse(line) as { n: number }).n), Array.from({ length: 5000 }, (_, n) => n))
  })
}
