/** A DISCONNECT while PUBACKs are held back must not settle them (ADR 4). */
import t from 'tap'
import { settled } from '../support/memory-client.ts'
import { still } from '../support/pressure.ts'

await t.test('who says goodbye while PUBACKs wait has not had them', async t => {
  const { engine, client } = still(t)
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  engine.resends = { epoch: 'first' }
  const alice = client()
  await alice.connect('alice', { clean: false, clientId: 'a' })
  for (let i = 0; i < 195; i++) {
    alice.publish('im/to/u/bob', `${i}`)
    await settled(engine)
  }
  const had = alice.packets.waiting.filter(one => one.cmd === 'puback').length
  t.equal(had, 192, 'three PUBACKs wait')
  alice.leave()
  await settled(engine)
  const after = alice.packets.waiting.filter(one => one.cmd === 'puback').length
  const end = engine.ends.find(one => one.session === 'alice/a')
  t.equal(after, 192, 'they were never sent')
  t.ok((end?.proven ?? 0) <= had, `the engine is told that alice has the answers up to ${end?.proven}; she has ${had}`)
  t.equal(end?.graceful, false, 'something was unanswered')
})
