/**
 * The database is killed with -9 under load and stays away for a while: nothing acknowledged is lost, doubled or out of
 * order, numbers have no gaps, and sending goes on by itself. `SABETHES_TEST_KILLS` (default 2) times,
 * `SABETHES_TEST_DOWN_SECONDS` (default 2) each; the bar is 5 and 20.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { NewMessage } from '../../broker/store/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { within } from '../support/mailbox.ts'

const kills = Number(process.env.SABETHES_TEST_KILLS ?? 2)
const downSeconds = Number(process.env.SABETHES_TEST_DOWN_SECONDS ?? 2)
t.setTimeout((kills * (downSeconds + 30) + 90) * 1000)
const server = await mongodbServer(t)
const skip = server === undefined || server.kind === 'env' ? 'no database server that this test may stop' : false

await t.test(`${kills} kills of ${downSeconds} s`, { skip, timeout: (kills * (downSeconds + 20) + 60) * 1000 }, async t => {
  if (server === undefined) return
  const timeoutMs = 1000
  const options = { url: server.url, database: server.database, timeoutMs }
  const store = await openMongoStore(options)
  t.teardown(() => store.close())
  const running = new AbortController()
  let failures = 0
  const acknowledged = new Map<string, Array<{ seq: number, id: string, body: string }>>()
  let moved: (() => void) | undefined

  /** One sender: each message is sent again until it is acknowledged, as a client does; with a cid, or with DUP. */
  const sender = async (name: string, conv: string, withCid: boolean): Promise<void> => {
    const acks: Array<{ seq: number, id: string, body: string }> = []
    acknowledged.set(name, acks)
    for (let i = 0; !running.signal.aborted; i++) {
      const body = `"body":"${name}-${i}"`
      for (let dup = false; ; dup = true) {
        const more: Partial<NewMessage> = withCid ? { cid: `${name}-${i}` } : { resend: { session: `${name}/p`, packetId: 1 + i % 50, digest: body, dup, epoch: 'first', number: 1, proven: 0 } }
        try {
          const [out] = await store.commit([message(conv, name, { ...more, content: body, ts: Date.now() })])
          if (out !== undefined) acks.push({ seq: out.seq, id: out.id, body })
          moved?.()
          break
        } catch (error) {
          t.equal((error as Error).name, 'StoreUnavailableError')
          failures++
          await sleep(50)
        }
      }
    }
  }
  const senders = [sender('a', 'd:a:b', true), sender('b', 'd:a:b', false), sender('a2', 'g:g', false), sender('c', 'g:g', true)]
  const progress = async (what: string): Promise<void> => {
    for (let i = 0; i < 20; i++) await within(new Promise<void>(resolve => { moved = resolve }), 15_000, what)
  }
  for (let i = 0; i < kills; i++) {
    await progress('acknowledgements')
    await server.kill9()
    // Each call ends by itself, and says why.
    await t.rejects(within(store.commit([message('d:x:y', 'x', { cid: `while down ${i}` })]), 10 * timeoutMs, 'the end of a commit'), { name: 'StoreUnavailableError' })
    await t.rejects(within(store.health(), 10 * timeoutMs, 'the end of a health check'), { name: 'StoreUnavailableError' })
    await t.rejects(within(store.events('nobody', 0, 9), 10 * timeoutMs, 'the end of a read'), { name: 'StoreUnavailableError' })
    await sleep(downSeconds * 1000)
    await server.restart()
    await progress('acknowledgements after the restart')
    await store.health()
  }
  running.abort()
  await Promise.all(senders)
  t.ok(failures > 0, 'commits failed meanwhile')

  const fresh = await openMongoStore({ ...options, timeoutMs: 20_000 })
  t.teardown(() => fresh.close())
  for (const [conv, names] of [['d:a:b', ['a', 'b']], ['g:g', ['a2', 'c']]] as const) {
    const log = await fresh.messages(conv, { limit: 1e6 })
    t.same(log.map(m => m.seq), log.map((_, i) => i + 1), `${conv}: numbers without gaps`)
    t.equal(new Set(log.map(m => m.content)).size, log.length, 'no message twice')
    t.match(await fresh.heads([conv]), [{ seq: log.length, n: log.length }])
    const at = new Map(log.map(m => [m.seq, m]))
    for (const name of names) {
      const acks = acknowledged.get(name) ?? []
      t.ok(acks.every(ack => at.get(ack.seq)?.id === ack.id && at.get(ack.seq)?.content === ack.body), `${name}: ${acks.length} acknowledged, each one there`)
      t.same(acks.map(ack => ack.seq), acks.map(ack => ack.seq).sort((a, b) => a - b), 'in order')
      t.same(log.filter(m => m.from === name).map(m => m.content), acks.map(ack => ack.body), 'and nothing else')
    }
  }
})
