/** One connection of a session over all servers. */
import t from 'tap'
import { z } from 'zod'
import type { Plugin } from '../../broker/plugin-api.ts'
import { loadedPlugin } from '../support/engine-bench.ts'
import type { Resends } from '../../broker/link/port.ts'
import { until } from '../support/mailbox.ts'
import { SeatsWorld } from '../support/seats-world.ts'

const phone = 'bob/phone'
const clean = { cleanStart: true, expirySeconds: 0 }

await t.test('a session that is taken up at another server ends at the first, and goes on from there', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  a.proven = 1
  const first = await a.connect(phone)
  a.bench.engine.advance([{ session: phone, persistent: true, user: 'bob', stream: 'd:alice:bob', seq: 2, sent: 4 }])
  await a.bench.engine.saveSubscriptions(phone, [{ filter: 'im/u/bob/inbox', qos: 1 }])
  const resume = await b.connect(phone)
  t.match(resume, { present: true, takenOver: true, from: 'a', subscriptions: [{ filter: 'im/u/bob/inbox' }], resends: { last: { epoch: first.resends?.epoch, proven: 1 } } }, 'with what the first one put down at its end')
  t.same(await b.bench.store.cursors(phone, ['d:alice:bob']), [{ seq: 2, sent: 4 }], 'and with its cursors')
  t.same([a.kicked, [...a.connected.keys()], [...b.connected.keys()]], [[`${phone} taken_over`], [], [phone]])
  t.match(await b.bench.store.session(phone), { node: 'b', connection: { epoch: resume.resends?.epoch }, expiresAt: undefined })
  await b.lose(phone)
  t.same([...world.claims], [], 'nobody has it any more')
  t.equal((await a.connect(phone)).takenOver, undefined, 'nobody had to end anything')
  t.equal(world.asked.length, 2, 'and who had it has nothing under way')
})

await t.test('so does one that ends with its connection, which no row knows', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  await a.connect(phone, clean)
  t.match(await b.connect(phone, clean), { present: false, takenOver: true })
  t.same([a.kicked, [...a.connected.keys()]], [[`${phone} taken_over`], []])
  t.equal((await b.connect(phone, clean)).takenOver, undefined, 'a connection at the same server is its gateway\'s matter')
})

await t.test('with nothing but rows: no claims, as Redis is away', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  await a.connect(phone)
  world.claims.clear()
  t.match(await b.connect(phone), { present: true, takenOver: true, from: 'a' })
  t.same(a.kicked, [`${phone} taken_over`])
})

await t.test('a server that does not answer, or is gone, is not waited for', async t => {
  const world = new SeatsWorld(t)
  const [a, b, c] = [await world.start('a'), await world.start('b'), await world.start('c')]
  await a.connect(phone)
  world.cut.add('a')
  const resume = await b.connect(phone)
  t.match(resume, { present: true, from: 'a', takenOver: undefined }, 'taken as it is stored')
  t.same(world.asked, [`b asks a for ${phone}`], 'asked once')
  await a.lose(phone)
  t.match(await b.bench.store.session(phone), { node: 'b', expiresAt: undefined, connection: { epoch: resume.resends?.epoch, proven: 0 } }, 'its late end changes nothing')
  world.over.add('b')
  t.match(await c.connect(phone), { present: true, from: 'b' })
  t.equal(world.asked.length, 1, 'who is over is not asked')
})

await t.test('what waits in a lane is neither stored nor acknowledged: the client sends it at the next server, before what follows', async t => {
  const world = new SeatsWorld(t)
  const slow: Plugin = { name: 'slow', description: 'lets everybody wait', options: z.unknown(), timeoutMs: 1000, onFailure: 'pass', start: () => ({ onPublish: () => ({ delayMs: 500 }) }) }
  const [a, b] = [await world.start('a', { plugins: [loadedPlugin(slow)] }), await world.start('b')]
  const { resends } = await a.connect(phone)
  const more = resends === undefined ? {} : { resends }
  const refs = [a.bench.send('bob', 'im/to/u/alice', 'held', { ...more, number: 1 }), a.bench.send('bob', 'im/to/u/alice', 'behind', { ...more, number: 2 })]
  await until(() => a.bench.outputs.some(({ kind }) => kind === 'hold'), 5_000, 'the sender to wait')
  // Of the same turn as its end.
  a.onEnd = () => { refs.push(a.bench.send('bob', 'im/to/u/alice', 'last', { ...more, number: 3 })) }
  await b.connect(phone)
  t.same(a.kicked, [`${phone} taken_over`])
  a.onEnd = () => {}
  t.same(await b.bench.store.heads(['d:alice:bob']), [undefined])
  await b.bench.verdict(b.bench.send('bob', 'im/to/u/alice', 'held', { dup: true }))
  t.match(await Promise.all(refs.map(ref => a.bench.verdict(ref))), refs.map(ref => ({ ref, ok: 'failed' })))
  t.equal(refs.length, 3)
  t.same((await b.bench.store.messages('d:alice:bob', { limit: 9 })).map(({ content }) => (JSON.parse(`{${content}}`) as { body: unknown }).body), ['held'], 'it is there once, and nothing came behind it from the first')
})

await t.test('what was sent again without an answer is known as a repeat at the next server', async t => {
  const world = new SeatsWorld(t)
  let waits = false
  const slow: Plugin = { name: 'slow', description: 'lets everybody wait', options: z.unknown(), timeoutMs: 1000, onFailure: 'pass', start: () => ({ onPublish: () => waits ? { delayMs: 500 } : undefined }) }
  const [a, b, c] = [await world.start('a', { plugins: [loadedPlugin(slow)] }), await world.start('b'), await world.start('c')]
  const publish = (text: string, from: { resends?: Resends }, packetId: number, more: object) => ['bob', 'im/to/u/alice', text, { session: phone, packetId, ...from.resends !== undefined && { resends: from.resends }, ...more }] as const
  const first = await a.connect(phone)
  for (const [packetId, text] of [[1, 'one'], [2, 'two']] as const) await a.bench.verdict(a.bench.send(...publish(text, first, packetId, { number: packetId })))
  // Nothing of it was answered, as the client sees it: it comes again on each connection.
  waits = true
  const second = await a.connect(phone)
  const cut = [[1, 'one'], [2, 'two']].map(([packetId, text]) => a.bench.send(...publish(String(text), second, Number(packetId), { dup: true, number: packetId })))
  await until(() => a.bench.outputs.some(({ kind }) => kind === 'hold'), 5_000, 'the sender to wait')
  const third = await b.connect(phone)
  b.bench.before = () => { throw new Error('the store takes nothing') }
  for (const [packetId, text] of [[1, 'one'], [2, 'two']] as const) t.match(await b.bench.verdict(b.bench.send(...publish(text, third, packetId, { dup: true, number: packetId }))), { ok: 'failed' })
  const fourth = await c.connect(phone)
  for (const [packetId, text] of [[1, 'one'], [2, 'two']] as const) t.match(await c.bench.verdict(c.bench.send(...publish(text, fourth, packetId, { dup: true, number: packetId }))), { ok: true, seq: packetId }, text)
  t.same(await c.bench.store.heads(['d:alice:bob']).then(([head]) => head?.seq), 2, 'each is there once')
  t.match(await Promise.all(cut.map(ref => a.bench.verdict(ref))), [{ ok: 'failed' }, { ok: 'failed' }])
})

await t.test('what was submitted is committed before the session goes on', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  await a.connect(phone)
  let go = (): void => {}
  a.bench.before = () => new Promise<void>(resolve => { go = resolve })
  const ref = a.bench.send('bob', 'im/to/u/alice', 'under way')
  await until(() => a.bench.commits.length > 0, 5_000, 'the commit to begin')
  let opened = false
  const opening = b.connect(phone).then(resume => {
    opened = true
    return resume
  })
  await until(() => a.kicked.length > 0 && a.connected.size === 0, 5_000, 'the first connection to end')
  for (let turns = 0; turns < 20; turns++) await new Promise(resolve => setImmediate(resolve))
  t.equal(opened, false, 'it waits for the commit')
  go()
  t.match(await opening, { present: true, takenOver: true })
  t.match(await a.bench.verdict(ref), { ok: true, seq: 1 })
})

await t.test('what a connection has left that had ended by itself is committed, or cut, before the session goes on elsewhere: sent again it is the same message', async t => {
  const world = new SeatsWorld(t)
  let waits = false
  const slow: Plugin = { name: 'slow', description: 'lets everybody wait', options: z.unknown(), timeoutMs: 1000, onFailure: 'pass', start: () => ({ onPublish: () => waits ? { delayMs: 500 } : undefined }) }
  const [a, b] = [await world.start('a', { plugins: [loadedPlugin(slow)] }), await world.start('b')]
  const { resends } = await a.connect(phone)
  const first = resends === undefined ? {} : { resends }
  let go = (): void => {}
  a.bench.before = () => new Promise<void>(resolve => { go = resolve })
  const ref = a.bench.send('bob', 'im/to/u/alice', 'under way', { ...first, packetId: 1, number: 1 })
  await until(() => a.bench.commits.length > 0, 5_000, 'the commit to begin')
  waits = true
  const held = a.bench.send('bob', 'im/to/u/alice', 'held', { ...first, packetId: 2, number: 2 })
  await until(() => a.bench.outputs.some(({ kind }) => kind === 'hold'), 5_000, 'the sender to wait')
  await a.lose(phone)
  t.same([...world.claims], [], 'its end is stored')
  let opened = false
  const opening = b.connect(phone).then(resume => {
    opened = true
    return resume
  })
  for (let turns = 0; turns < 20; turns++) await new Promise(resolve => setImmediate(resolve))
  t.equal(opened, false, 'it waits for the commit')
  go()
  a.bench.before = () => {}
  const second = await opening
  t.match(second, { present: true, takenOver: undefined, resends: { last: { epoch: resends?.epoch } } })
  const again = second.resends === undefined ? {} : { resends: second.resends }
  const answers = [[1, 'under way'], [2, 'held']].map(([packetId, text]) => b.bench.verdict(b.bench.send('bob', 'im/to/u/alice', String(text), { ...again, packetId: Number(packetId), number: Number(packetId), dup: true })))
  t.match(await Promise.all(answers), [{ ok: true, seq: 1 }, { ok: true, seq: 2 }])
  t.match([await a.bench.verdict(ref), await a.bench.verdict(held)], [{ ok: true, seq: 1 }, { ok: 'failed' }])
  t.match(await b.bench.store.heads(['d:alice:bob']), [{ seq: 2 }], 'each is there once')
  await b.lose(phone)
  t.equal(world.asked.length, 1)
  world.over.add('b')
  await a.connect(phone)
  t.equal(a.kicked.length, 0)
})

await t.test('two servers at once: the later one has it, and each asks the other for another session of the user without waiting for itself', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  await Promise.all([a.connect('bob/x'), b.connect('bob/y')])
  await Promise.all([a.connect('bob/y'), b.connect('bob/x')])
  t.same([[...a.connected.keys()], [...b.connected.keys()]], [['bob/y'], ['bob/x']], 'crossed')
  for (const kind of [{}, clean]) {
    const results = await Promise.allSettled([a.connect(phone, kind), b.connect(phone, kind)])
    t.match(results, [{ status: 'rejected', reason: { message: 'unavailable' } }, { status: 'fulfilled' }], 'who claimed it first gives way')
    t.same([a.connected.has(phone), b.connected.has(phone), world.claims.get(phone)?.node], [false, true, 'b'])
    await b.lose(phone)
  }
})

await t.test('who waits for a server that does not answer gives way at once to who takes the session meanwhile', async t => {
  const world = new SeatsWorld(t)
  const [a, b, c] = [await world.start('a'), await world.start('b'), await world.start('c')]
  await a.connect(phone)
  a.deaf = true
  const second = b.connect(phone)
  await until(() => world.asked.length === 1, 5_000, 'b to ask a')
  const third = c.connect(phone)
  await t.rejects(second, /unavailable/)
  await until(() => world.asked.length === 3, 5_000, 'c to ask a')
  t.same(world.asked, [`b asks a for ${phone}`, `c asks b for ${phone}`, `c asks a for ${phone}`])
  await a.lose(phone)
  t.match(await third, { present: true, takenOver: true, from: 'a' })
})

await t.test('a client that goes to and fro is at the last one', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  for (const kind of [{}, clean]) {
    await a.connect(phone, kind)
    const there = b.connect(phone, kind).then(() => true, () => false)
    const back = await a.connect(phone, kind).then(() => true, () => false)
    await there
    t.equal(back, true)
    t.same([a.connected.has(phone), b.connected.has(phone)], [true, false])
    await a.lose(phone)
  }
})

await t.test('after nothing was heard for a while the connection that was opened later stays', async t => {
  const world = new SeatsWorld(t)
  let now = Date.now()
  const [a, b, c] = [await world.start('a', { now: () => now }), await world.start('b', { now: () => now }), await world.start('c', { now: () => now })]
  await a.connect(phone, clean)
  await c.connect('eve/phone', clean)
  world.away = true
  now += 1000
  await b.connect(phone, clean)
  await b.connect('bob/own', clean)
  t.same([a.connected.has(phone), b.connected.has(phone)], [true, true], 'nobody can know')
  world.away = false
  world.claims.delete('eve/phone')
  await Promise.all([a, b, c].map(({ bench }) => bench.engine.remote.recheck()))
  await until(() => !a.connected.has(phone), 5_000, 'the earlier one to end')
  t.same([a.kicked, b.kicked, c.kicked], [[`${phone} taken_over`], [], []])
  t.same([...world.claims].map(([session, { node }]) => [session, node]).sort(), [['bob/own', 'b'], ['bob/phone', 'b'], ['eve/phone', 'c']], 'claims that were never made, or were lost, are there')

  // The other way round: the one that is looked at first is the later one.
  world.away = true
  now += 1000
  await a.connect(phone, clean)
  world.away = false
  await b.bench.engine.remote.recheck()
  await a.bench.engine.remote.recheck()
  await until(() => !b.connected.has(phone), 5_000, 'the earlier one to end')
  t.same([a.connected.has(phone), world.claims.get(phone)?.node], [true, 'a'])
})

await t.test('a share is taken from nobody', async t => {
  const world = new SeatsWorld(t)
  const [a, b] = [await world.start('a'), await world.start('b')]
  const share = 'bob/$share/w/im/u/bob/inbox'
  const open = { clientId: '$share/w/im/u/bob/inbox', share: true as const }
  await a.connect(share, open)
  await t.rejects(b.connect(share, open), /unavailable/)
  await Promise.all([a, b].map(({ bench }) => bench.engine.remote.recheck()))
  t.same([a.kicked, world.asked, [...world.claims]], [[], [], []])
  await a.lose(share)
  t.match(await b.connect(share, open), { present: true })
})

await t.test('a failed opening leaves no claim', async t => {
  const world = new SeatsWorld(t)
  const a = await world.start('a')
  a.bench.store.putSession = () => Promise.reject(new Error('full'))
  Reflect.set(a.bench.level, 'putSession', () => Promise.reject(new Error('full')))
  await t.rejects(a.connect(phone))
  t.same([...world.claims], [])
})
