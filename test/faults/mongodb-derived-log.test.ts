/** Writes behind the insert of a message that fail are answered all the same, repaired by the next reader, and logged once. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { loadConfig } from '../../broker/config/load.ts'
import { openStore } from '../../broker/parts.ts'
import { direct, message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'

/** The beginning of a command that writes heads and marks: `update: "conversations"` in BSON. */
const derived = Buffer.from('\x02update\0\x0e\0\0\0conversations\0', 'latin1')

/** A way to the server that is cut, while `cutting`, by each command that writes heads and marks. */
async function cutter (t: Test, url: string): Promise<{ url: string, cuts: number, cutting: boolean }> {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const proxy = createServer(client => {
    const server = connect(Number(port), hostname)
    for (const [from, to] of [[client, server], [server, client]] as const) {
      sockets.add(from)
      // Both ends go together, whichever was lost.
      from.on('error', () => { to.destroy() }).on('close', () => { to.destroy() })
    }
    server.pipe(client)
    client.on('data', (bytes: Buffer) => {
      if (!state.cutting || !bytes.includes(derived)) return server.write(bytes)
      state.cuts++
      client.destroy()
    })
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  const state = { url: `mongodb://127.0.0.1:${(proxy.address() as AddressInfo).port}/?directConnection=true`, cuts: 0, cutting: false }
  return state
}

const server = await mongodbServer(t)
await t.test('one line for a burst, without what was to be written', { skip: server === undefined || server.kind === 'env' ? 'no server of its own' : false }, async t => {
  if (server === undefined) return
  const way = await cutter(t, server.url)
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write (line: string) { lines.push(line) } })
  const set = ['store.driver=mongodb', `store.url=${way.url}`, `store.database=${server.database}`]
  const store = await openStore(loadConfig({ folder: t.testdir(), flags: { set } }).config, log)
  t.teardown(() => store.close())
  await store.commit([message(direct, 'alice')])
  t.same(lines, [])
  way.cutting = true
  for (const seq of [2, 3, 4]) {
    t.match(await store.commit([message(direct, 'bob')]), [{ seq, replay: false }], 'stored, so it is answered')
    // The next reader repairs.
    way.cutting = false
    t.match(await store.heads([direct]), [{ seq }])
    way.cutting = true
  }
  t.equal(way.cuts, 3)
  t.equal(lines.length, 1, lines.join(''))
  t.match(JSON.parse(lines[0] ?? ''), { level: 40, part: 'store', reason: /^(?!.*alice:bob).+/, msg: /messages are stored/ })
  way.cutting = false
  t.equal((await store.messages(direct, { limit: 9 })).length, 4)
})
