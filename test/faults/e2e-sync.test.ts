/**
 * What strace sees: the log's write, then its completed sync, then the PUBACK's bytes on the socket. `kill -9` cannot show
 * this, because the operating system keeps what was written and not synced.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { until } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

interface Call { name: string, /** The text of the arguments; file and socket names are in `<>` behind descriptors. */ args: string, result: string, began: number, ended: number }

/** Reads `strace -f -yy` output; calls that other threads interrupt are put together again. `began` and `ended` are line numbers. */
function readTrace (text: string): Call[] {
  const calls: Call[] = []
  const open = new Map<string, Call>()
  for (const [at, line] of text.split('\n').entries()) {
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>(.*)$/.exec(line)
    const begun = /^(\d+) +(\w+)\((.*)$/.exec(line)
    if (resumed !== null) {
      const call = open.get(resumed[1] as string)
      if (call === undefined) continue
      open.delete(resumed[1] as string)
      call.args += resumed[3] as string
      call.result = resultOf(call.args)
      call.ended = at
    } else if (begun !== null) {
      const [, thread = '', name = '', rest = ''] = begun
      const call: Call = { name, args: rest, result: '', began: at, ended: Infinity }
      calls.push(call)
      if (rest.endsWith('<unfinished ...>')) open.set(thread, call)
      else {
        call.result = resultOf(rest)
        call.ended = at
      }
    }
  }
  return calls
}

function resultOf (args: string): string { return / = (-?\d+)[^=]*$/.exec(args)?.[1] ?? '' }
/** How strace -xx shows bytes. */
function shown (bytes: Uint8Array | string): string { return [...Buffer.from(bytes)].map(byte => '\\x' + byte.toString(16).padStart(2, '0')).join('') }

await t.test('write, sync, PUBACK', async t => {
  if (!requireTool(t, 'strace')) return
  const trace = join(t.testdir({}), '..', `${process.pid}.strace`)
  const server = await startServer(t, {
    wrapper: ['strace', '-f', '-yy', '-xx', '-s', '70000', '-o', trace,
      '-e', 'trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fdatasync,fsync,sync_file_range', '--']
  })
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen' })
  const port = String((client.stream as unknown as { localPort: number }).localPort)
  const marks = Array.from({ length: 5 }, (_, i) => `needle-${i}-${Math.random().toString(36).slice(2, 10)}`)
  for (const [i, mark] of marks.entries()) {
    // Structured, text, and one by another way in: all of them are messages.
    await client.publish(`im/to/u/bob${i}`, i % 2 === 0 ? thrice(mark) : JSON.stringify({ cid: mark, body: thrice(mark) }), { messageId: 1000 + i })
  }
  // A batch: many at once, each PUBACK after a sync that covers its message.
  const many = Array.from({ length: 30 }, (_, i) => `batch-${i}-${Math.random().toString(36).slice(2, 10)}`)
  await Promise.all(many.map(async (mark, i) => { await client.publish('im/to/u/bob', thrice(mark), { messageId: 2000 + i }) }))
  await client.disconnect()
  await until(() => readFileSync(trace, 'utf8').includes(shown(pubackBytes(2029))), 10_000, 'the trace')
  await server.kill9()

  const calls = readTrace(readFileSync(trace, 'utf8'))
  const syncs = calls.filter(call => /^(fdatasync|fsync)$/.test(call.name) && call.result === '0')
  t.ok(syncs.length > 0, `${syncs.length} syncs`)
  const sockets = calls.filter(call => /^(write|writev|sendto|sendmsg)$/.test(call.name) && new RegExp(`TCP.*:${port}\\b`).test(call.args))
  const expect = (mark: string, messageId: number): void => {
    const needle = shown(mark)
    const logged = calls.find(call => /write/.test(call.name) && call.args.includes(needle) && !/TCP/.test(call.args) && fileOf(call).startsWith('/'))
    if (logged === undefined) { t.fail(`${mark}: no write to a file holds it`); return }
    const synced = syncs.find(sync => sync.began > logged.ended && fileOf(sync) === fileOf(logged))
    if (synced === undefined) { t.fail(`${mark}: ${fileOf(logged)} was not synced after its write`); return }
    const told = sockets.find(call => call.args.includes(shown(pubackBytes(messageId))))
    if (told === undefined) { t.fail(`${mark}: no PUBACK was seen`); return }
    t.ok(synced.ended < told.began, `${mark}: written at ${logged.began}, synced at ${synced.began}-${synced.ended}, PUBACK at ${told.began}`)
  }
  for (const [i, mark] of marks.entries()) expect(mark, 1000 + i)
  for (const [i, mark] of many.entries()) expect(mark, 2000 + i)
})

await t.test('the trace reader tells a PUBACK before the sync', async t => {
  const lines = ['7 write(20</d/1.log>, "\\x61", 1) = 1', '8 fdatasync(20</d/1.log> <unfinished ...>',
    '7 write(21<TCP:[1->2]>, "\\x40", 1) = 1', '8 <... fdatasync resumed>) = 0']
  const [write, sync, socket] = readTrace(lines.join('\n'))
  t.match(write, { name: 'write', result: '1', began: 0, ended: 0 })
  t.match(sync, { name: 'fdatasync', result: '0', began: 1, ended: 3 })
  t.ok((sync?.ended ?? 0) > (socket?.began ?? 0), 'a sync that ends later is seen as later')
})

/** LevelDB cuts records at the blocks of its log: of three copies at least one is whole. */
function thrice (mark: string): string { return `${mark} ${mark} ${mark}` }

/** A PUBACK of MQTT 3.1.1 [MQTT-3.4]. */
function pubackBytes (messageId: number): Buffer { return Buffer.from([0x40, 2, messageId >> 8, messageId & 255]) }

/** The name that `-yy` gives the first argument. */
function fileOf (call: Call): string { return decoded(/^\d+<([^>]*)>/.exec(call.args)?.[1] ?? '') }
function decoded (text: string): string { return text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))) }
