import { join } from 'node:path'
import t from 'tap'
import { loadPlugins } from '../../broker/engine/plugins/plugin-loader.ts'
import { orderPlugins } from '../../broker/engine/plugins/plugin-order.ts'
import type { Draft, GateVerdict, PluginContext } from '../../broker/plugin-api.ts'
import quietHours from '../../examples/plugins/quiet-hours.ts'
import blockList from '../../plugins/block-list.ts'
import rateLimit from '../../plugins/rate-limit.ts'
import { openBench } from '../support/engine-bench.ts'

const draft = (from: string, to: Draft['to'] = { kind: 'user', id: 'bob' }): Draft =>
  ({ from, session: `${from}/x`, conv: 'd', to, type: 'text', body: 'x', cid: undefined, sizeBytes: 1 })

const clockContext = (clock: { ms: number }, more: Partial<PluginContext> = {}): PluginContext =>
  ({ log: { info () {}, warn () {} }, blocks: () => false, now: () => clock.ms, steady: () => clock.ms, ...more })

await t.test('order', async t => {
  const names = (plugins: Parameters<typeof orderPlugins>[0], absent: string[] = []): string[] => orderPlugins(plugins, absent).map(plugin => plugin.name)
  t.strictSame(names([{ name: 'a' }, { name: 'b' }, { name: 'c' }]), ['a', 'b', 'c'])
  t.strictSame(names([{ name: 'a', after: ['c'] }, { name: 'b' }, { name: 'c' }]), ['b', 'c', 'a'])
  t.strictSame(names([{ name: 'a' }, { name: 'b' }, { name: 'c', before: ['a'] }]), ['b', 'c', 'a'])
  t.strictSame(names([{ name: 'a', after: ['off'] }], ['off']), ['a'])
  t.throws(() => names([{ name: 'a', after: ['off'] }]), { name: 'PluginError', message: /'a' must come after 'off'/ })
  t.throws(() => names([{ name: 'a', before: ['b'] }, { name: 'b', before: ['a'] }]), { message: /contradict each other: .*a after b/ })
  t.throws(() => names([{ name: 'a', after: ['a'] }]), { message: /contradict/ })
  t.throws(() => names([{ name: 'a' }, { name: 'a' }]), { message: /two plugins/ })
})

await t.test('loading', async t => {
  const shape = "description: 'x', options: { safeParse: value => ({ success: true, data: value }) }, timeoutMs: 5, onFailure: 'pass', start () { return {} }"
  const baseDir = t.testdir({
    'good.mjs': `export default { name: 'good', ${shape}, before: ['rate-limit'] }`,
    'lost.mjs': `export default { name: 'lost', ${shape}, after: ['nobody'] }`,
    'vague.mjs': `export default { name: 'vague', ${shape}, onFailure: 'maybe' }`,
    'none.mjs': 'export const x = 1',
    node_modules: { 'a-package': { 'package.json': '{"name":"a-package","type":"module","main":"index.js"}', 'index.js': `export default { name: 'packed', ${shape} }` } }
  })
  const load = (...entries: Array<string | Parameters<typeof loadPlugins>[0][number]>) =>
    loadPlugins(entries.map(entry => typeof entry === 'string' ? { name: entry } : entry), { baseDir })
  t.strictSame((await load('block-list', 'rate-limit', './good.mjs', join(baseDir, 'good.mjs')).catch((error: Error) => error.message)), "two plugins are named 'good'")
  t.strictSame((await load('block-list', 'rate-limit', './good.mjs', 'a-package')).map(({ name, source }) => [name, source]),
    [['good', './good.mjs'], ['rate-limit', 'built-in'], ['block-list', 'built-in'], ['packed', 'a-package']])
  t.strictSame((await load('block-list', { name: 'rate-limit', enabled: false })).map(plugin => plugin.name), ['block-list'])
  t.match((await load({ name: 'rate-limit', options: { burst: 5 } }))[0]?.options, { burst: 5, messagesPerSecond: 100, maxUsers: 1_000_000 })
  await t.rejects(load({ name: 'rate-limit', options: { burst: 0 } }), { name: 'PluginError', message: /plugins\.rate-limit\.burst: / })
  await t.rejects(load({ name: 'rate-limit', options: { brust: 1 } }), { name: 'PluginError', message: /brust/ })
  await t.rejects(load('rate-limti'), { name: 'PluginError', message: /'rate-limti' cannot be loaded/ })
  await t.rejects(load('./absent.mjs'), { name: 'PluginError' })
  await t.rejects(load('./lost.mjs'), { message: /'lost' must come after 'nobody'/ })
  await t.rejects(load('./vague.mjs'), { message: /onFailure/ })
  await t.rejects(load('./none.mjs'), { message: /no plugin/ })
})

await t.test('rate-limit: a burst, then the rate', async t => {
  const clock = { ms: 1_790_000_000_000 }
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 10, burst: 3, bytesPerMessage: 16_384, maxDelayMs: 0, maxUsers: 10 }, clockContext(clock))
  const send = (from = 'alice'): GateVerdict => onPublish?.(draft(from)) as GateVerdict
  t.strictSame([send(), send(), send()], [undefined, undefined, undefined])
  t.match(send(), { code: 'rate_limited', retryAfterMs: 100 })
  t.equal(send('bob'), undefined, 'each user has a bucket')
  clock.ms += 99
  t.match(send(), { retryAfterMs: 1 })
  clock.ms += 1
  t.equal(send(), undefined)
  t.match(send(), { retryAfterMs: 100 })
  clock.ms += 300
  t.strictSame([send(), send(), send()], [undefined, undefined, undefined])
  t.match(send(), { code: 'rate_limited' })
})

await t.test('rate-limit: who is above the rate waits, and is refused when too much waits', async t => {
  const clock = { ms: 1_790_000_000_000 }
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 10, burst: 2, bytesPerMessage: 16_384, maxDelayMs: 250, maxUsers: 10 }, clockContext(clock))
  const send = (): unknown => onPublish?.(draft('alice'))
  t.strictSame([send(), send()], [undefined, undefined])
  t.strictSame([send(), send()], [{ delayMs: 100 }, { delayMs: 200 }], 'sessions of one user wait one behind the other')
  t.match(send(), { code: 'rate_limited', retryAfterMs: 50 })
  clock.ms += 50
  t.match(send(), { delayMs: 250 })
  clock.ms += 3_600_000
  t.strictSame([send(), send()], [undefined, undefined])
})

await t.test('rate-limit: a large message counts as several, and never as more than a burst', async t => {
  const clock = { ms: 1_790_000_000_000 }
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 10, burst: 4, bytesPerMessage: 1_000, maxDelayMs: 0, maxUsers: 10 }, clockContext(clock))
  const send = (sizeBytes: number, from = 'alice'): GateVerdict => onPublish?.({ ...draft(from), sizeBytes }) as GateVerdict
  t.strictSame([send(1_001), send(1_000), send(0)], [undefined, undefined, undefined])
  t.match(send(1), { code: 'rate_limited', retryAfterMs: 100, reason: 'at most 10 messages a second' })
  clock.ms += 100
  t.match(send(2_500), { retryAfterMs: 200, reason: /each of at most 1000 bytes/ })
  clock.ms += 200
  t.equal(send(2_500), undefined)
  t.equal(send(1_000_000, 'bob'), undefined, 'a whole burst')
  t.match(send(1, 'bob'), { retryAfterMs: 100 })
  clock.ms += 399
  t.match(send(1_000_000, 'bob'), { retryAfterMs: 1 })
  clock.ms += 1
  t.equal(send(1_000_000, 'bob'), undefined)
})

await t.test('rate-limit: pauses are no shorter than timers are fine', async t => {
  const clock = { ms: 1_790_000_000_000 }
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 1_000, burst: 20, bytesPerMessage: 16_384, maxDelayMs: 5_000, maxUsers: 10 }, clockContext(clock))
  for (let i = 0; i < 20; i++) t.equal(onPublish?.(draft('alice')), undefined)
  const pause = onPublish?.(draft('alice')) as { delayMs: number }
  t.equal(pause.delayMs, 20)
  clock.ms += pause.delayMs
  let passed = 0
  while (onPublish?.(draft('alice')) === undefined) passed++
  t.equal(passed, 19, 'what was saved meanwhile passes at once')
})

await t.test('rate-limit: the machine\'s clock has no part in it', async t => {
  const clock = { ms: 1_790_000_000_000 }
  let wall = clock.ms
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 10, burst: 1, bytesPerMessage: 16_384, maxDelayMs: 0, maxUsers: 10 }, clockContext(clock, { now: () => wall }))
  const send = (): GateVerdict => onPublish?.(draft('alice')) as GateVerdict
  t.equal(send(), undefined)
  wall -= 3_600_000
  t.match(send(), { retryAfterMs: 100 })
  wall += 7_200_000
  t.match(send(), { retryAfterMs: 100 }, 'a clock that is set forward fills no bucket')
  clock.ms += 100
  t.equal(send(), undefined)
})

await t.test('rate-limit: the memory is bounded', async t => {
  const clock = { ms: 1_790_000_000_000 }
  const { onPublish } = await rateLimit.start({ messagesPerSecond: 1, burst: 1, bytesPerMessage: 16_384, maxDelayMs: 0, maxUsers: 2 }, clockContext(clock))
  const send = (from: string): GateVerdict => onPublish?.(draft(from)) as GateVerdict
  for (const from of ['a', 'b', 'c']) t.equal(send(from), undefined)
  t.match(send('c'), { code: 'rate_limited' })
  t.equal(send('a'), undefined, 'the oldest was forgotten')
})

await t.test('block-list asks for direct messages only', async t => {
  const asked: string[] = []
  let answer: boolean | Promise<boolean> = true
  const context = clockContext({ ms: 1 }, { blocks (receiver, sender) { asked.push(`${receiver} ${sender}`); return answer } })
  const { onPublish } = await blockList.start({}, context)
  t.match(onPublish?.(draft('alice')), { code: 'blocked' })
  t.equal(onPublish?.(draft('alice', { kind: 'group', id: 'dev' })), undefined)
  t.equal(onPublish?.(draft('alice', { kind: 'user', id: 'alice' })), undefined)
  answer = Promise.resolve(true)
  t.match(await onPublish?.(draft('carol')), { code: 'blocked' })
  answer = Promise.resolve(false)
  t.equal(await onPublish?.(draft('carol')), undefined)
  t.strictSame(asked, ['bob alice', 'bob carol', 'bob carol'])
})

await t.test('block-list with the real lists', async t => {
  const bench = await openBench(t, { plugins: await loadPlugins([{ name: 'rate-limit' }, { name: 'block-list' }], { baseDir: '.' }) })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')), { ok: true })
  await bench.verdict(bench.send('bob', 'im/rpc/blocks.add', '{"rid":"1","user":"alice"}'))
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'y')), { ok: false, code: 'blocked' })
  t.match(await bench.verdict(bench.send('bob', 'im/to/u/alice', 'z')), { ok: true })
  t.equal(bench.envelopes().length, 2)
})

await t.test('block-list: when the store cannot tell, nothing is acknowledged', async t => {
  const bench = await openBench(t, { plugins: await loadPlugins([{ name: 'block-list' }], { baseDir: '.' }) })
  const { blocks } = bench.store
  let broken = true
  bench.store.blocks = async uid => {
    if (broken) throw new Error('no answer')
    return await blocks(uid)
  }
  const refs = ['1', '2'].map(body => bench.send('alice', 'im/to/u/bob', body))
  t.match(await Promise.all(refs.map(ref => bench.verdict(ref))), [{ ok: 'failed' }, { ok: 'failed' }], 'the client sends both again')
  t.match(bench.engine.plugins[0]?.counts, { refused: 0, failed: 0, timedOut: 0 }, "that is not the plugin's failure")
  broken = false
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', '1')), { ok: true, seq: 1 })
})

await t.test('the example', async t => {
  const lines: object[] = []
  const clock = { ms: Date.UTC(2026, 0, 1, 23) }
  const context = clockContext(clock, { log: { info (fields) { lines.push(fields) }, warn () {} } })
  const { onPublish, onStored, close } = await quietHours.start({ fromHour: 22, toHour: 6, logEvery: 2 }, context)
  t.match(onPublish?.(draft('alice')), { code: 'filtered' })
  t.equal(onPublish?.(draft('alice', { kind: 'group', id: 'dev' })), undefined)
  clock.ms = Date.UTC(2026, 0, 2, 6)
  t.equal(onPublish?.(draft('alice')), undefined)
  for (let seq = 1; seq < 4; seq++) await onStored?.({ ...draft('alice'), id: 'i', seq, ts: 1 })
  await close?.()
  t.strictSame(lines, [{ stored: 2 }, { stored: 3 }])
})
