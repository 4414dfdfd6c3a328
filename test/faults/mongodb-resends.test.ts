/** A message without client message id that comes again and again on connections that all fail is stored once. */
import { pino } from 'pino'
import t from 'tap'
import type { Verdict } from '../../broker/link/port.ts'
import { loadConfig } from '../../broker/config/load.ts'
import { openStore } from '../../broker/parts.ts'
import { openBench } from '../support/engine-bench.ts'
import { mongodbServer } from '../support/mongodb.ts'

const server = await mongodbServer(t)
const skip = server === undefined || server.kind === 'env' ? 'no server of its own' : false

await t.test('its answer is lost, and then nobody can look whether it was stored', { skip, timeout: 120_000 }, async t => {
  if (server === undefined) return
  const set = ['store.driver=mongodb', `store.url=${server.url}`, `store.database=${server.database}`, 'store.timeoutMs=1000']
  const store = await openStore(loadConfig({ folder: t.testdir(), flags: { set } }).config, pino({ level: 'silent' }))
  t.teardown(() => store.close())
  const bench = await openBench(t, {}, store)
  /** The words with the same packet id on the connection `epoch`, DUP but for the first time. */
  const sent = (body: string, epoch: string, last?: string): Promise<Verdict> => bench.verdict(bench.send('alice', 'im/to/u/bob', body, {
    packetId: 7, dup: last !== undefined, number: 1, proven: 0, resends: { epoch, ...last === undefined ? {} : { last: { epoch: last, proven: 0 } } }
  }))
  /** The database needs a moment until it is found again: connections that fail come between. */
  let tries = 0
  const served = async (body: string, last: string): Promise<Verdict> => {
    for (let before = last; ; tries++) {
      const epoch = `${body} ${tries}`
      const verdict = await sent(body, epoch, before)
      if (verdict.ok !== 'failed' || tries > 12) return verdict
      before = epoch
    }
  }
  const first = await sent('one', 'A') as Verdict & { id: string }
  t.match(first, { ok: true, seq: 1 })
  await server.kill9()
  t.match(await sent('one', 'B', 'A'), { ok: 'failed' })
  t.match(await sent('one', 'C', 'B'), { ok: 'failed' })
  await server.restart()
  t.match(await served('one', 'C'), { ok: true, seq: 1, id: first.id })
  t.match(await sent('one', 'E', `one ${tries}`), { ok: true, seq: 1, id: first.id }, 'the memory is that of the connection on which it was found')

  t.match(await sent('two', 'E'), { ok: true, seq: 2 })
  await server.kill9()
  t.match(await sent('two', 'F'), { ok: 'failed' }, 'another message with the packet id')
  await server.restart()
  t.match(await served('two', 'F'), { ok: true, seq: 3 }, 'its resend is no repeat of the one before')
})
