/** What is kept of a log must be bounded by recentBytes. */
import t from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { packed } from '../../broker/link/wire.ts'
import { Recent } from '../../broker/gateway/delivery/recent.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const MB = 1_000_000
/** A reader that has had nothing yet. */
const far = { sentTo: 0 }
const collected = async (): Promise<number> => {
  for (let i = 0; i < 3; i++) { gc(); await new Promise(resolve => { setImmediate(resolve) }) }
  return process.memoryUsage().arrayBuffers
}

await t.test('entries that were dropped are let go', async t => {
  const recent = new Recent({ maxBytes: 4 * MB })
  const before = await collected()
  recent.begin('d:a:b', { seq: 1, payload: Buffer.alloc(100_000) }, far)
  let most = 0
  // A slow conversation of large messages whose reader is a little behind all the time.
  for (let seq = 2; seq <= 1000; seq++) {
    recent.note('d:a:b', { seq, payload: Buffer.alloc(100_000) })
    recent.after('d:a:b', { sentTo: seq - 1 }, 1, Infinity)
    if (seq % 10 === 0) recent.trim()
    most = Math.max(most, recent.bytes)
  }
  const held = await collected() - before
  t.ok(most <= 4 * MB, `it says ${most / MB} MB`)
  t.ok(held < 8 * MB, `it holds ${Math.round(held / MB)} MB`)
  t.ok(recent.bytes > 0)
})

await t.test('engine.thread: an entry does not keep what came with it', async t => {
  const recent = new Recent({ maxBytes: 4 * MB })
  const before = await collected()
  // Each batch from the thread: one small message of the log that is kept, and 50 others of other conversations.
  for (let seq = 1; seq <= 400; seq++) {
    const others = Array.from({ length: 50 }, (_, i) => ({ kind: 'message', conv: `d:x:${i}`, seq, from: 'x', payload: Buffer.alloc(4000) }))
    const { items, buffer } = packed([{ kind: 'message', conv: 'd:a:b', seq, from: 'a', payload: Buffer.alloc(200) }, ...others])
    const heard = structuredClone(items, { transfer: [buffer as ArrayBuffer] })
    for (const message of heard) {
      recent.note(message.conv, message)
      if (message.conv === 'd:a:b') recent.begin('d:a:b', message, far)
    }
  }
  const held = await collected() - before
  t.ok(held < 8 * MB, `it says ${recent.bytes / MB} MB, and holds ${Math.round(held / MB)} MB`)
  t.ok(recent.bytes > 0)
})
