/** What deferred answers keep of connections that have ended. */
import t from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { bench, settled } from '../support/memory-client.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

await t.test('nothing is kept of a connection that has ended', async t => {
  const { engine, client, access } = bench(t, { inflight: 64 }, undefined, [], undefined, false, () => 1_000_000)
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  const carol = client()
  await carol.connect('carol')
  for (let i = 0; i < 200; i++) carol.publish('im/to/u/bob', 'x')
  await settled(engine)
  const refs: Array<WeakRef<object>> = []
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 20; i++) {
    const carol2 = client()
    await carol2.connect('carol', { clientId: `c${i}` })
    refs.push(new WeakRef([...access.sessions.connections].at(-1) as object))
    carol2.publish('im/to/u/bob', 'x')
    for (let j = 0; j < 4; j++) carol2.publish('im/rpc/messages.history', '600000')
    await settled(engine)
    carol2.lose()
    await settled(engine)
  }
  await settled(engine)
  gc(); await settled(engine); gc()
  t.equal(access.answerRoom.bytes, 0, 'the room of answers says that there are none')
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 5_000_000, `${Math.round(grown / 1e6)} MB of answers to connections that have ended`)
  t.ok(refs.filter(one => one.deref() !== undefined).length < 3, 'connections that are kept')
})
