/** A server that is killed between two writes of marks: a cursor must not be there without the delivered mark that it stands for. */
import t from 'tap'
import { pino } from 'pino'
import { Marks } from '../../broker/engine/reading/marks.ts'
import type { Marks as StoreMarks, Store } from '../../broker/store/store.ts'

await t.test('a cursor is not written before the delivered mark of the same message', async t => {
  const chunks: StoreMarks[] = []
  const store = { advance: async (chunk: StoreMarks) => { chunks.push(chunk); return [] } } as unknown as Store
  const marks = new Marks({ store, log: pino({ level: 'silent' }), maxDelayMs: 1000, onMoved: () => {} })
  for (let i = 0; i < 300; i++) marks.advance({ session: `u${i}/phone`, persistent: true, user: `u${i}`, stream: `d:a:u${i}`, seq: 1, sent: 1 })
  await marks.close()
  const delivered = new Set<string>()
  let alone = 0
  for (const chunk of chunks) {
    for (const { user, conv } of chunk.members) delivered.add(`${user} ${conv}`)
    for (const { session, stream } of chunk.cursors) if (!delivered.has(`${session.slice(0, session.indexOf('/'))} ${stream}`)) alone++
  }
  t.equal(alone, 0, `${alone} of 300 cursors are written before their delivered mark (${chunks.length} writes)`)
})
