import { EventEmitter, once } from 'node:events'
import t from 'tap'
import type { Verdict } from '../../broker/link/port.ts'
import type { Operation } from '../../broker/store/store.ts'
import { openBench } from '../support/engine-bench.ts'

await t.test('what comes in one turn is one commit; what comes meanwhile is the next', async t => {
  const bench = await openBench(t)
  const store = new EventEmitter()
  bench.before = async operations => {
    store.emit('begun', operations.length)
    if (bench.commits.length === 1) await once(store, 'go')
  }
  const begun = once(store, 'begun')
  const refs = [1, 2, 3].map(n => bench.send('alice', 'im/to/u/bob', `a${n}`))
  await begun
  for (const n of [1, 2, 3, 4]) refs.push(bench.send('carol', 'im/to/u/bob', `c${n}`))
  t.strictSame(bench.commits, [3], 'the second batch waits for the first')
  t.strictSame(bench.outputs, [], 'no answer before the commit')
  store.emit('go')
  await Promise.all(refs.map(ref => bench.verdict(ref)))
  t.strictSame(bench.commits, [3, 4])
  t.strictSame(bench.envelopes().map(envelope => [envelope['conv'], envelope['seq'], envelope['body']]), [
    ['d:alice:bob', 1, 'a1'], ['d:alice:bob', 2, 'a2'], ['d:alice:bob', 3, 'a3'],
    ['d:bob:carol', 1, 'c1'], ['d:bob:carol', 2, 'c2'], ['d:bob:carol', 3, 'c3'], ['d:bob:carol', 4, 'c4']
  ])
  const kinds = bench.outputs.map(output => output.kind)
  t.equal(kinds.indexOf('verdict') < kinds.indexOf('message'), true, 'the verdict comes before the message')
})

await t.test('a batch is bounded', async t => {
  const bench = await openBench(t)
  const refs: number[] = []
  for (let i = 0; i < 4500; i++) refs.push(bench.send('alice', 'im/to/u/bob', 'x'))
  await Promise.all(refs.map(ref => bench.verdict(ref)))
  t.strictSame(bench.commits, [2000, 2000, 500])
})

await t.test('a failed commit gives no positive verdict, nor anything behind it', async t => {
  const bench = await openBench(t)
  const store = new EventEmitter()
  bench.before = async () => {
    if (bench.commits.length > 1) return
    store.emit('begun')
    await once(store, 'fail')
    throw new Error('disk')
  }
  const begun = once(store, 'begun')
  const first = bench.send('alice', 'im/to/u/bob', '1')
  await begun
  const behind = bench.send('alice', 'im/to/u/bob', '2')
  const refused = bench.send('alice', 'im/to/u/bob', '')
  const asked = bench.send('alice', 'im/rpc/unread', '{"rid":"1"}')
  const laned = bench.send('alice', 'im/to/u/bob', '3')
  const other = bench.send('carol', 'im/to/u/bob', 'hi')
  store.emit('fail')
  for (const ref of [first, behind, refused, asked, laned]) t.match(await bench.verdict(ref), { ok: 'failed' })
  t.match(await bench.verdict(other), { ok: true, seq: 1 })
  t.strictSame(bench.envelopes().map(envelope => envelope['body']), ['hi'])
  const again = await bench.verdict(bench.send('alice', 'im/to/u/bob', '1'))
  t.match(again, { ok: true, seq: 1 }, 'the session goes on after it came back')
})

await t.test('repeats are answered with the first and delivered once', async t => {
  const bench = await openBench(t)
  const byCid = { payload: '{"cid":"c1","body":"x"}' }
  const first = await bench.verdict(bench.send('alice', 'im/to/u/bob', byCid.payload)) as Verdict & { id: string }
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', byCid.payload)), { ok: true, id: first.id, seq: 1 })
  const mark = { resends: { epoch: 'this-one' }, number: 1, proven: 0 }
  const plain = await bench.verdict(bench.send('alice', 'im/to/u/bob', 'hi', { packetId: 7, ...mark })) as Verdict & { id: string }
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'hi', { packetId: 7, dup: true, ...mark })), { id: plain.id, seq: 2 })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'other', { packetId: 7, dup: true, ...mark })), { seq: 3 }, 'other content is another message')
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'hi', { packetId: 7, ...mark })), { seq: 4 }, 'a packet id is used again')
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'hi', { qos: 0, packetId: 0 })), { seq: 5 })
  const envelopes = bench.envelopes()
  t.equal(envelopes.length, 5)
  t.equal(new Set(envelopes.map(envelope => envelope['cid'])).size, 5, 'each message has its own cid')
  t.match(envelopes[1], { cid: /^~7\./, from: 'alice', to: 'u/bob', v: 1 })
  t.equal(envelopes[4]?.['cid'], envelopes[4]?.['id'], 'without an acknowledgement the cid is the id')
})

await t.test('unknown recipients in password mode', async t => {
  const bench = await openBench(t, { mode: 'password' })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/nobody', '{"cid":"c","body":"x"}')), { ok: false, code: 'not_found', cid: 'c' })
})

await t.test('sizes, expiry and unknown groups', async t => {
  const bench = await openBench(t)
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x'.repeat(65_536))), { ok: true })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x'.repeat(65_537))), { ok: false, code: 'too_large' })
  t.match(await bench.verdict(bench.send('alice', 'im/to/g/none', 'x')), { ok: false, code: 'not_found' })
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'soon gone', { expirySeconds: 60 }))
  const last = bench.outputs.at(-1)
  const ts = bench.envelopes().at(-1)?.['ts'] as number
  t.match(last, { kind: 'message', expiresAt: ts + 60_000 })
})

await t.test('requests run behind the messages of their session', async t => {
  const bench = await openBench(t)
  const message = bench.send('alice', 'im/to/u/bob', '{"cid":"one","body":"x"}')
  const asked = bench.send('alice', 'im/rpc/messages.history', '{"rid":"h1","with":"bob","limit":5}')
  const answer = await bench.verdict(asked) as Verdict & { answer: Uint8Array }
  t.match(await bench.verdict(message), { seq: 1 })
  t.match(answer, { ok: true, rid: 'h1' })
  t.match(JSON.parse(Buffer.from(answer.answer).toString()), { rid: 'h1', ok: true })
  t.match(Buffer.from(answer.answer).toString(), '"cid":"one"')
  const unknown = await bench.verdict(bench.send('alice', 'im/rpc/no.such', '{"rid":"2"}')) as Verdict & { answer: Uint8Array }
  t.match(JSON.parse(Buffer.from(unknown.answer).toString()), { rid: '2', ok: false, code: 'not_found' })
  for (const wrong of ['', '[]', '{}', '{"rid":"a/b"}', 'x'.repeat(65_537)]) {
    t.match(await bench.verdict(bench.send('alice', 'im/rpc/unread', wrong)), { ok: false, code: wrong.length > 9 && !wrong.startsWith('{') ? 'too_large' : 'bad_payload' })
  }
  t.match(await bench.verdict(bench.send('bob', 'im/to/u/alice/read', '{"seq":1}')), { ok: true })
  for (const wrong of ['', '0', '"1"', '1.5', '{}']) t.match(await bench.verdict(bench.send('bob', 'im/to/u/alice/read', wrong)), { ok: false, code: 'bad_payload' })
})

await t.test('members are announced before the messages they may see, and the removed do not post', async t => {
  const bench = await openBench(t)
  const { engine } = bench
  const { host } = engine
  const group = { gid: 'dev', name: 'Dev', owner: 'alice', createdAt: 1 }
  await host.commit([{ op: 'group', group }, { op: 'member', gid: 'dev', user: 'alice', role: 'owner' }, { op: 'member', gid: 'dev', user: 'bob', role: 'member' }])
  t.strictSame(bench.outputs, [{ kind: 'members', gid: 'dev', added: [{ user: 'alice', joinedSeq: 0 }, { user: 'bob', joinedSeq: 0 }], removed: [] }])
  await bench.verdict(bench.send('bob', 'im/to/g/dev', 'one'))
  bench.outputs.length = 0
  const add = host.commit([{ op: 'member', gid: 'dev', user: 'bob', role: 'admin' }, { op: 'member', gid: 'dev', user: 'carol', role: 'member' }])
  const seen = bench.send('alice', 'im/to/g/dev', 'two')
  await add
  await bench.verdict(seen)
  t.match(bench.outputs.map(output => output.kind), ['members', 'verdict', 'message'])
  t.match(bench.outputs[0], { added: [{ user: 'carol', joinedSeq: 1 }] })
  t.equal((bench.outputs[0] as { added: unknown[] }).added.length, 1, 'a new role is no new member')
  bench.outputs.length = 0
  const drop = host.commit([{ op: 'member.drop', gid: 'dev', user: 'bob' }])
  const late = bench.send('bob', 'im/to/g/dev', 'three')
  await drop
  t.match(await bench.verdict(late), { ok: false, code: 'not_found' })
  await host.commit([{ op: 'group.drop', gid: 'dev' }])
  t.strictSame(bench.outputs.at(-1), { kind: 'members', gid: 'dev', added: [], removed: ['alice', 'carol'] })
})

await t.test('close commits what was submitted and fails what comes later', async t => {
  const bench = await openBench(t)
  const ref = bench.send('alice', 'im/to/u/bob', 'x')
  await bench.engine.close()
  t.match(await bench.verdict(ref), { ok: true })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'y')), { ok: 'failed' })
})

await t.test('of a message without cid, whose session ends with its connection, nothing is kept to know it again by', async t => {
  const bench = await openBench(t)
  const stored: Operation[] = []
  bench.before = operations => { stored.push(...operations) }
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'ok', { packetId: 1 }))
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'ok', { packetId: 1, dup: true }))
  t.equal(bench.envelopes().length, 2)
  for (const operation of stored) {
    t.notOk('cid' in operation, 'no key is looked up nor written')
    t.notOk('resend' in operation)
  }
})
