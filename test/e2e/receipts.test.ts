/** Receipts: the own copy, delivered and read as merged watermarks, also for a sender that was away; group reads by request. */
import t from 'tap'
import { device } from '../support/mqtt.ts'
import type { Device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

/** Reads events until one of `kind` in `conv` by `by` reaches `seq`; answers how many of that kind came. */
async function watermark (who: Device, kind: string, conv: string, by: string, seq: number): Promise<number> {
  for (let count = 1, last = 0; ; count++) {
    const event = await who.nextJson(`im/u/${who.user}/event`)
    if (event.kind !== kind || event.conv !== conv || event.by !== by) { count--; continue }
    const now = event.seq as number
    if (now < last) throw new Error(`the ${kind} mark went back: ${now} after ${last}`)
    last = now
    if (now === seq) return count
    if (now > seq) throw new Error(`the ${kind} mark is ${now}, beyond ${seq}`)
  }
}

await t.test("one's own copy is the receipt of storage, on every device", async t => {
  const server = await startServer(t)
  const phone = await device(t, server.url, 'alice', { clientId: 'phone' })
  const tablet = await device(t, server.url, 'alice', { clientId: 'tablet' })
  for (const one of [phone, tablet]) await one.subscribe('im/u/alice/inbox')
  await phone.publish('im/to/u/bob', { cid: 'c-7', body: 'hello' })
  for (const one of [phone, tablet]) {
    t.match(await one.nextJson('im/u/alice/inbox'), { cid: 'c-7', id: /.+/, conv: 'd:alice:bob', seq: 1, from: 'alice', to: 'u/bob', body: 'hello' })
  }
  await phone.result('groups.create', { gid: 'dev', name: 'Dev', members: ['bob'] })
  await phone.publish('im/to/g/dev', { cid: 'c-8', body: 'hello all' })
  for (const one of [phone, tablet]) {
    let copy = await one.nextJson('im/u/alice/inbox')
    while (copy.type === 'system') copy = await one.nextJson('im/u/alice/inbox')
    t.match(copy, { cid: 'c-8', conv: 'g:dev', from: 'alice', to: 'g/dev', body: 'hello all' }, 'of a group message as well')
  }
})

await t.test('delivered at the PUBACK of the receiver, read at its mark', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  await alice.subscribe('im/u/alice/event')
  for (let i = 1; i <= 3; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  for (let seq = 1; seq <= 3; seq++) t.match(await bob.nextJson('im/u/bob/inbox'), { seq })
  await watermark(alice, 'delivered', 'd:alice:bob', 'bob', 3)
  t.equal((await bob.result<{ total: number }>('unread')).total, 3)
  t.same(await bob.publish('im/to/u/alice/read', '2'), {})
  await watermark(alice, 'read', 'd:alice:bob', 'bob', 2)
  t.equal((await bob.result<{ total: number }>('unread')).total, 1)
  await bob.publish('im/to/u/alice/read', '{"seq":3}')
  await watermark(alice, 'read', 'd:alice:bob', 'bob', 3)
  await bob.publish('im/to/u/alice/read', '1')
  t.equal((await bob.result<{ total: number }>('unread')).total, 0, 'a mark never goes back')
})

await t.test('a fast reader does not flood the sender', async t => {
  const server = await startServer(t, { config: { plugins: ['block-list'] } })
  const alice = await device(t, server.url, 'alice')
  await alice.subscribe('im/u/alice/event')
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  const total = sized({ level: 300, mongodb: 100 })
  const sends: Array<Promise<unknown>> = []
  bob.onMessage = message => {
    sends.push(bob.publish('im/to/u/alice/read', String((JSON.parse(message.text) as { seq: number }).seq)))
    return true
  }
  for (let i = 1; i <= total; i++) sends.push(alice.publish('im/to/u/bob', `message ${i}`))
  const reads = await watermark(alice, 'read', 'd:alice:bob', 'bob', total)
  await Promise.all(sends)
  t.ok(reads < total / 2, `${reads} receipts for ${total} messages that were read one by one`)
})

await t.test('receipts wait for a sender that was offline, merged to the newest', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice', { clientId: 'phone', clean: false })
  await alice.subscribe(['im/u/alice/inbox', 'im/u/alice/event'])
  for (let i = 1; i <= 5; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  for (let i = 1; i <= 5; i++) await alice.next('im/u/alice/inbox')
  await alice.end()
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe(['im/u/bob/inbox', 'im/u/bob/event'])
  for (let seq = 1; seq <= 5; seq++) {
    await bob.next('im/u/bob/inbox')
    await bob.publish('im/to/u/alice/read', String(seq))
    await watermark(bob, 'read', 'd:alice:bob', 'bob', seq)
  }
  await server.stop()
  await server.restart()
  const back = await device(t, server.url, 'alice', { clientId: 'phone', clean: false })
  t.equal(back.sessionPresent, true)
  const events: Array<Record<string, unknown>> = []
  for (;;) {
    const event = await back.nextJson('im/u/alice/event')
    events.push(event)
    if (events.some(e => e.kind === 'read' && e.seq === 5) && events.some(e => e.kind === 'delivered')) break
  }
  t.equal(events.filter(e => e.kind === 'read' && e.by === 'bob').length, 1, 'the newest read receipt replaced the older ones')
  t.equal(events.filter(e => e.kind === 'delivered').length, 1)
  t.match(events.find(e => e.kind === 'delivered'), { conv: 'd:alice:bob', by: 'bob', seq: 5 })
})

await t.test('who has read message N of a group', async t => {
  const server = await startServer(t)
  const owner = await device(t, server.url, 'owner')
  await owner.result('groups.create', { gid: 'dev', name: 'Dev', members: ['ann', 'ben', 'cid'] })
  await owner.subscribe(['im/g/dev'])
  await owner.publish('im/to/g/dev', 'who reads this?')
  let seq = 0
  while (seq === 0) {
    const envelope = await owner.nextJson('im/g/dev')
    if (envelope.body === 'who reads this?') seq = envelope.seq as number
  }
  for (const name of ['ann', 'ben']) {
    const reader = await device(t, server.url, name)
    await reader.publish('im/to/g/dev/read', String(seq))
    t.match(await reader.ask('unread'), { ok: true })
  }
  const { read } = await owner.result<{ read: string[] }>('messages.reads', { conv: 'g:dev', seq })
  t.same([...read].sort(), ['ann', 'ben'])
  const outsider = await device(t, server.url, 'eve')
  t.match(await outsider.ask('messages.reads', { conv: 'g:dev', seq }), { ok: false, code: /forbidden|not_found/ })
})
