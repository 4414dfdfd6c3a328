/** A message without client message id that comes again and again on connections that all fail is stored once. */
import { pino } from 'pino'
import t from 'tap'
import { loadConfig } from '../../broker/config/load.ts'
import { openStore } from '../../broker/parts.ts'
import type { ConnectionMark, NewMessage, Outcome, Store } from '../../broker/store/store.ts'
import { direct, message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'

const server = await mongodbServer(t)
const skip = server === undefined || server.kind === 'env' ? 'no server of its own' : false

/** The same words with the same packet id on the connection `epoch`, DUP but for the first time. */
function sent (digest: string, epoch: string, last?: ConnectionMark): NewMessage {
  return message(direct, 'alice', { resend: { session: 'alice/phone', packetId: 7, digest, dup: last !== undefined, epoch, number: 1, proven: 0, ...last === undefined ? {} : { last } } })
}

await t.test('its answer is lost, and then nobody can look whether it was stored', { skip }, async t => {
  if (server === undefined) return
  const set = ['store.driver=mongodb', `store.url=${server.url}`, `store.database=${server.database}`, 'store.timeoutMs=1000']
  const store = await openStore(loadConfig({ folder: t.testdir(), flags: { set } }).config, pino({ level: 'silent' }))
  t.teardown(() => store.close())
  const [first] = await store.commit([sent('d1', 'A')])
  await server.kill9()
  await t.rejects(store.commit([sent('d1', 'B', { epoch: 'A', proven: 0 })]))
  await t.rejects(store.commit([sent('d1', 'C', { epoch: 'B', proven: 0 })]))
  await server.restart()
  t.match(await served(store, sent('d1', 'D', { epoch: 'C', proven: 0 })), { seq: first?.seq, id: first?.id, replay: true })
  t.match(await store.commit([sent('d1', 'E', { epoch: 'D', proven: 0 })]), [{ seq: first?.seq, replay: true }], 'the memory is that of the connection on which it was found')

  const [other] = await store.commit([sent('d2', 'E')])
  await server.kill9()
  await t.rejects(store.commit([sent('d2', 'F')]), 'another message with the packet id')
  await server.restart()
  t.match(await served(store, sent('d2', 'G', { epoch: 'F', proven: 0 })), { seq: (other?.seq ?? 0) + 1, replay: false }, 'its resend is no repeat of the one before')
})

/** The database needs a moment until it is found again. */
async function served (store: Store, op: NewMessage): Promise<Outcome | undefined> {
  for (let tries = 0; ; tries++) {
    try {
      const [outcome] = await store.commit([op])
      return outcome
    } catch (cause) {
      if (tries > 20) throw cause
    }
  }
}
