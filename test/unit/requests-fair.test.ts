/** Requests end with the connection that asked, and take turns by user. */
import t from 'tap'
import { createControl } from '../../broker/engine/control.ts'
import type { ControlParts } from '../../broker/engine/control.ts'
import type { EngineHost } from '../../broker/engine/host.ts'
import type { RequestOptions } from '../../broker/engine/requests/request.ts'
import type { Rules } from '../../broker/operations/rules.ts'
import { openBench, type EngineBench } from '../support/engine-bench.ts'

interface Served { user: string, name: string }
interface Bench extends EngineBench { served: Served[], hold: () => () => void, ask (user: string, method: string, session?: string): number }

const rates = { all: { perSecond: 1e6, burst: 1e6 }, heavy: { perSecond: 1e6, burst: 1e6 } }

/** Rules that `note` hears of, and waits for, each time that one is asked. */
function noted (rules: Rules, note: (name: string, user: string) => Promise<void> | undefined): Rules {
  type Rule = (...args: unknown[]) => unknown
  const asked = (subject: string, owner: object, key: string | symbol): Rule => {
    const rule = Reflect.get(owner, key) as Rule
    return async (...args) => {
      const [who] = args
      await note(`${subject}.${String(key)}`, typeof who === 'string' ? who : (who as { user: string }).user)
      return await rule.apply(owner, args)
    }
  }
  return Object.fromEntries(Object.entries(rules).map(([subject, owner]) => [subject, new Proxy(owner as object, { get: (owner, key) => asked(subject, owner, key) })])) as unknown as Rules
}

/** An engine whose rules note that they were asked; block lists wait while `hold` is in force. */
async function open (t: Parameters<typeof openBench>[0], requests: Partial<RequestOptions> = {}): Promise<Bench> {
  const served: Served[] = []
  let gate: Promise<void> | undefined
  const bench = await openBench(t, {
    requests: { concurrency: 16, concurrencyPerUser: 4, rates, ...requests },
    control: (host, setup): ControlParts => {
      const control = createControl(host, setup)
      return {
        ...control,
        rules: noted(control.rules, (name, user) => {
          served.push({ user, name })
          return name === 'blocks.list' ? gate : undefined
        })
      }
    }
  })
  const hold = (): (() => void) => {
    let open = (): void => {}
    gate = new Promise(resolve => { open = resolve })
    return () => { gate = undefined; open() }
  }
  const ask: Bench['ask'] = (user, method, session = `${user}/phone`) => bench.send(user, `im/rpc/${method}`, '{"rid":"1"}', { session })
  return { ...bench, served, hold, ask }
}

/** Resolves when a request of the user is being served. */
async function begun (bench: Bench, count: number): Promise<void> {
  while (bench.served.length < count) await new Promise(resolve => { setImmediate(resolve) })
}

await t.test('what waits when the connection ends is not served; messages are stored', async t => {
  const bench = await open(t)
  const release = bench.hold()
  const first = bench.ask('bob', 'blocks.list')
  const waiting = Array.from({ length: 50 }, () => bench.ask('bob', 'unread'))
  const message = bench.send('bob', 'im/to/u/alice', 'hello')
  await begun(bench, 1)
  bench.engine.hangUp('bob/phone', false)
  const later = bench.ask('bob', 'sync')
  release()
  t.match(await bench.verdict(message), { ok: true, seq: 1 }, 'what was read of messages is stored')
  for (const ref of waiting) t.match(await bench.verdict(ref), { ok: 'failed' })
  t.match(await bench.verdict(first), { ok: true }, 'a short one that was under way is done')
  t.match(await bench.verdict(later), { ok: true, rid: '1' }, 'the next connection is served')
  t.strictSame(bench.served.map(one => one.name), ['blocks.list', 'sync.missing'])
})

await t.test('a goodbye leaves what changes something to be done, and nothing that only asks', async t => {
  const bench = await open(t)
  const release = bench.hold()
  bench.ask('bob', 'blocks.list')
  const change = bench.send('bob', 'im/rpc/blocks.add', '{"rid":"1","user":"eve"}')
  const query = bench.ask('bob', 'unread')
  await begun(bench, 1)
  bench.engine.hangUp('bob/phone', true)
  release()
  t.match(await bench.verdict(query), { ok: 'failed' })
  t.match(await bench.verdict(change), { ok: true })
  t.strictSame(bench.served.map(one => one.name), ['blocks.list', 'blocks.add'])
  t.strictSame(await bench.store.blocks('bob'), ['eve'])
})

await t.test('a long one that is under way stops at its next piece', async t => {
  let reads = 0
  const rows = 2000
  // A list that never ends: only the caller's leaving ends it.
  const conversations = async (): Promise<unknown[]> => {
    reads++
    const marks = { joinedSeq: 0, clearedSeq: 0, readSeq: 0, readN: 0, deliveredSeq: 0, hiddenUnread: 0, muted: false, pinned: false }
    return Array.from({ length: rows }, (_, i) => ({ member: { user: 'bob', conv: `d:bob:u${i}`, ...marks }, head: { seq: 1, n: 1, ts: 1 } }))
  }
  const endless = (host: EngineHost): EngineHost => ({ ...host, store: new Proxy(host.store, { get: (store, key) => key === 'conversations' ? conversations : Reflect.get(store, key) as unknown }) })
  const bench = await openBench(t, {
    control: (host, setup): ControlParts => createControl(endless(host), setup)
  })
  const refs = ['conversations.list', 'unread'].map(method => bench.send('bob', `im/rpc/${method}`, '{"rid":"1"}', { session: `bob/${method}` }))
  const enough = (): boolean => reads >= 6
  while (!enough()) await new Promise(resolve => { setImmediate(resolve) })
  for (const method of ['conversations.list', 'unread']) bench.engine.hangUp(`bob/${method}`, false)
  for (const ref of refs) t.match(await bench.verdict(ref), { ok: 'failed' })
})

await t.test('requests are served by user in turn, from however many sessions one user asks', async t => {
  const bench = await open(t, { concurrency: 1, concurrencyPerUser: 1 })
  const release = bench.hold()
  bench.ask('zoe', 'blocks.list')
  await begun(bench, 1)
  for (let i = 0; i < 20; i++) bench.ask('greedy', 'unread', `greedy/${i}`)
  await new Promise(resolve => { setImmediate(resolve) })
  const modest = bench.ask('modest', 'unread')
  for (let i = 0; i < 10; i++) await new Promise(resolve => { setImmediate(resolve) })
  release()
  await bench.verdict(modest)
  const at = bench.served.findIndex(one => one.user === 'modest')
  t.ok(at > 0 && at <= 3, `it was number ${at}`)
})

await t.test('what comes too often is refused before it is read, with the time to wait', async t => {
  const bench = await open(t, { rates: { all: { perSecond: 0.001, burst: 2 }, heavy: { perSecond: 0.001, burst: 1 } } })
  t.match(await bench.verdict(bench.ask('bob', 'unread')), { ok: true })
  const refused = await bench.verdict(bench.ask('bob', 'unread', 'bob/tablet')) as { answer: Uint8Array }
  t.match(JSON.parse(Buffer.from(refused.answer).toString()), { rid: '1', ok: false, code: 'rate_limited', retryAfterMs: Number })
  const large = bench.send('bob', 'im/rpc/blocks.list', `{"rid":"1","fill":"${'x'.repeat(5000)}"}`)
  t.match(await bench.verdict(large), { ok: false, code: 'rate_limited' }, 'a large one is not read for its rid')
  t.match(await bench.verdict(bench.send('bob', 'im/to/u/bob/read', '1')), { ok: false, code: 'rate_limited' }, 'read marks count')
  t.match(await bench.verdict(bench.ask('alice', 'unread')), { ok: true }, 'others are others')
  t.equal(bench.served.length, 2)
})

await t.test('deep requests and large read marks are refused unread', async t => {
  const bench = await open(t)
  const deep = bench.send('bob', 'im/rpc/unread', `{"rid":"1","a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)
  t.match(await bench.verdict(deep), { ok: false, code: 'bad_payload', reason: /nested deeper than 32/ })
  t.match(await bench.verdict(bench.send('bob', 'im/to/u/bob/read', `{"seq":1,"fill":"${'x'.repeat(2000)}"}`)), { ok: false, code: 'bad_payload' })
  t.strictSame(bench.served, [])
})

await t.test('large messages are read in turn by user, and stay in their order', async t => {
  const bench = await openBench(t)
  const large = JSON.stringify({ body: 'x'.repeat(20_000) })
  for (let i = 0; i < 30; i++) bench.send('bob', 'im/to/u/alice', large)
  bench.send('bob', 'im/to/u/alice', 'small')
  const other = bench.send('carol', 'im/to/u/alice', large)
  const last = bench.send('bob', 'im/to/u/alice', 'last')
  await bench.verdict(other)
  await bench.verdict(last)
  const at = bench.envelopes().findIndex(one => one.from === 'carol')
  t.ok(at >= 0 && at <= 3, `the other user's is number ${at}, not behind them all`)
  t.strictSame(bench.envelopes().filter(one => one.from === 'bob').slice(-2).map(one => one.body), ['small', 'last'])
})
