/** What the engine is told of the answers that clients have. */
import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { within } from '../support/mailbox.ts'
import { bench, settled } from '../support/memory-client.ts'

await t.test('what was told while the subscriptions of a session were written is told again', async t => {
  const { engine, client } = bench(t)
  const told = new EventEmitter()
  engine.onProofs = proofs => { told.emit('proofs', proofs) }
  engine.resends = { epoch: 'first' }
  const bob = client()
  await bob.connect('bob', { clean: false })
  bob.publish('im/to/u/alice', 'one', 1, 1)
  await settled(engine)
  bob.publish('im/to/u/alice', 'two', 1, 1)
  engine.holding.add('saveSubscriptions')
  bob.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'im/u/bob/inbox', qos: 1 }] })
  t.match(await within(once(told, 'proofs'), 10_000, 'the proof'), [[{ epoch: 'first', proven: 1 }]])
  // The row that is written was read before, and what has it whole (MongoDB) loses the proof.
  engine.holding.clear()
  for (const held of [...engine.held]) held.now()
  t.match(await within(once(told, 'proofs'), 10_000, 'the proof again'), [[{ proven: 1 }]])
})
