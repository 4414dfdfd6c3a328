/** Many streams behind, all of them kept, of which nothing needs room in the window. */
import t from 'tap'
import { bench, settled } from '../support/memory-client.ts'

const groups = 6000

await t.test('a device that is a little behind in many conversations does not overflow the stack', async t => {
  const { engine, client } = bench(t, { recentBytes: 16_777_216 })
  const mallory = client({ version: 5 })
  await mallory.connect('mallory', { properties: { receiveMaximum: 1, maximumPacketSize: 200 } })
  await mallory.subscribe(['im/u/mallory/inbox', 'im/g/+'])
  for (let i = 0; i < groups; i++) engine.join(`g${i}`, 'eve', 'mallory')
  await settled(engine)
  engine.commit('d:eve:mallory', 'eve', 'not acknowledged yet')
  await settled(engine)
  const [first] = mallory.take()
  for (let i = 0; i < groups; i++) engine.commit(`g:g${i}`, 'eve', 'x'.repeat(300))
  mallory.ack(first as NonNullable<typeof first>)
  await settled(engine)
  t.notOk(mallory.closed)
})
