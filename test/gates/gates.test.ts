import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { z } from 'zod'
import { definePlugin } from '../../broker/plugin-api.ts'
import type { Plugin, PluginInstance, Stored } from '../../broker/plugin-api.ts'
import { loadedPlugin, openBench } from '../support/engine-bench.ts'

const plugin = (instance: PluginInstance, more: Partial<Plugin> = {}): Plugin => definePlugin({
  name: 'probe', description: 'A test', options: z.unknown(), timeoutMs: 1000, onFailure: 'refuse', start: () => instance, ...more
})

await t.test('messages of a session stay in order whatever the gates take', async t => {
  let seed = 7
  const random = (): number => { seed = (seed * 16807) % 2147483647; return seed }
  const onPublish = async (): Promise<undefined> => {
    for (let turns = random() % 5; turns > 0; turns--) await setImmediate()
    return undefined
  }
  const bench = await openBench(t, {
    plugins: [loadedPlugin(plugin({ onPublish: draft => random() % 3 === 0 ? undefined : draft.body === 'no' ? { code: 'filtered' } : onPublish() }))]
  })
  const sent = new Map<string, number[]>([['a', []], ['b', []], ['c', []]])
  for (let i = 0; i < 300; i++) {
    const from = ['a', 'b', 'c'][random() % 3] as string
    sent.get(from)?.push(bench.send(from, 'im/to/u/zoe', i % 10 === 0 ? 'no' : String(i)))
    if (i % 20 === 0) await setImmediate()
  }
  await Promise.all([...sent.values()].flat().map(ref => bench.verdict(ref)))
  const verdicts = bench.outputs.flatMap(output => output.kind === 'verdict' ? [output.ref] : [])
  for (const refs of sent.values()) t.strictSame(verdicts.filter(ref => refs.includes(ref)), refs)
  for (const from of sent.keys()) {
    const bodies = bench.envelopes().filter(envelope => envelope['from'] === from && envelope['body'] !== 'no').map(envelope => Number(envelope['body']))
    t.strictSame(bodies, bodies.toSorted((a, b) => a - b))
    t.equal(bodies.length > 50, true)
  }
})

await t.test('one session that waits for a gate holds up no other', async t => {
  let release: (() => void) | undefined
  const bench = await openBench(t, {
    plugins: [loadedPlugin(plugin({ onPublish: ({ from }) => from === 'slow' ? new Promise(resolve => { release = () => resolve(undefined) }) : undefined }))]
  })
  const slow = bench.send('slow', 'im/to/u/zoe', '1')
  t.match(await bench.verdict(bench.send('fast', 'im/to/u/zoe', '2')), { ok: true })
  t.equal(bench.outputs.some(output => output.kind === 'verdict' && output.ref === slow), false)
  release?.()
  t.match(await bench.verdict(slow), { ok: true })
})

await t.test('a gate lets a session wait: its order is kept, its connection is held, others and later gates go on', async t => {
  const asked: string[] = []
  const bench = await openBench(t, {
    plugins: [
      loadedPlugin(plugin({ onPublish: ({ from, body }) => from === 'fast' || body === '2' ? undefined : { delayMs: 300 } })),
      loadedPlugin(plugin({ onPublish: ({ body }) => { asked.push(String(body)); return body === '3' ? { code: 'filtered' } : undefined } }, { name: 'second' }))
    ]
  })
  const refs = ['1', '2', '3', '4'].map(body => bench.send('slow', 'im/to/u/zoe', body))
  t.match(await bench.verdict(bench.send('fast', 'im/to/u/zoe', 'x')), { ok: true })
  const verdicts = await Promise.all(refs.map(ref => bench.verdict(ref)))
  t.match(verdicts, [{ ok: true }, { ok: true }, { ok: false, code: 'filtered' }, { ok: true }])
  t.strictSame(asked, ['x', '1', '2', '3', '4'], 'the gates behind it are asked when the wait is over')
  t.strictSame(bench.envelopes().filter(one => one['from'] === 'slow').map(one => one['body']), ['1', '2', '4'])
  const holds = bench.outputs.flatMap(output => output.kind === 'hold' ? [output] : [])
  t.same(new Set(holds.map(one => one.session)), new Set(['slow/phone']))
  t.equal(holds[0]?.held, true)
  t.same(holds.filter(one => !one.held).length, 1, 'until all that it sent is judged')
  t.equal(holds.at(-1)?.held, false)
})

await t.test('what waits when the server stops is not acknowledged', async t => {
  const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: () => ({ delayMs: 60_000 }) }))] })
  const refs = ['1', '2'].map(body => bench.send('slow', 'im/to/u/zoe', body))
  await setImmediate()
  await bench.engine.close()
  t.match(await Promise.all(refs.map(ref => bench.verdict(ref))), [{ ok: 'failed' }, { ok: 'failed' }])
})

await t.test('what waits is not sent when its sender is banned or removed meanwhile', async t => {
  for (const end of ['ban', 'remove'] as const) {
    await t.test(end, async t => {
      let waits = true
      const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: ({ from }) => waits && from === 'slow' ? { delayMs: 300 } : undefined }))] })
      const { users } = bench.engine.control.accounts
      await users.add('slow', undefined)
      const refs = ['1', '2', '3'].map(body => bench.send('slow', 'im/to/u/zoe', body))
      await setImmediate()
      await (end === 'ban' ? users.ban('slow', true) : users.remove('slow'))
      t.match(await Promise.all(refs.map(ref => bench.verdict(ref))), [{ ok: 'failed' }, { ok: 'failed' }, { ok: 'failed' }], end)
      t.strictSame(bench.envelopes(), [])
      waits = false
      t.match(await bench.verdict(bench.send('zoe', 'im/to/u/slow', 'x')), { ok: true }, 'nobody else')
    })
  }
})

await t.test('a session that comes back again and again while it waits is held', async t => {
  let waits = true
  const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: () => waits ? { delayMs: 300 } : undefined }))] })
  const isFull = (session: string): boolean => {
    const last = bench.outputs.findLast(output => output.kind === 'hold' && output.session === session)
    return last?.kind === 'hold' && last.full === true
  }
  const held = (): boolean => isFull('slow/phone')
  t.notOk(held())
  const refs = Array.from({ length: 2_048 }, () => bench.send('slow', 'im/to/u/zoe', 'x'))
  bench.engine.hangUp('slow/phone', false)
  t.notOk(held(), 'resends of it are read')
  refs.push(bench.send('slow', 'im/to/u/zoe', 'x'))
  t.ok(held())
  const large = Array.from({ length: 65 }, () => bench.send('large', 'im/to/u/zoe', Buffer.alloc(65_536, 'x')))
  await setImmediate()
  t.ok(isFull('large/phone'))
  waits = false
  await Promise.all([...refs, ...large].map(ref => bench.verdict(ref)))
  await setImmediate()
  t.notOk(held())
})

await t.test('a wait that is no time is a failure', async t => {
  for (const delayMs of [0, -1, NaN, Infinity, 60_001, '5' as never]) {
    await t.test(String(delayMs), async t => {
      const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: () => ({ delayMs }) }))] })
      t.match(await bench.verdict(bench.send('alice', 'im/to/u/zoe', '1')), { ok: false, code: 'internal' })
    })
  }
})

await t.test('failures and timeouts mean what the plugin says', async t => {
  const broken: Array<[string, PluginInstance['onPublish'], string]> = [
    ['throw', () => { throw new Error('x') }, 'internal'],
    ['rejection', () => Promise.reject(new Error('x')), 'internal'],
    ['nonsense', () => ({ code: 'toString' }) as never, 'internal'],
    ['promised nonsense', () => Promise.resolve(1 as never), 'internal'],
    ['silence', () => new Promise(() => {}), 'unavailable']
  ]
  for (const onFailure of ['refuse', 'pass'] as const) {
    for (const [name, onPublish, code] of broken) {
      await t.test(`${name}, ${onFailure}`, async t => {
        const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ ...(onPublish && { onPublish }) }, { onFailure, timeoutMs: 20 }))] })
        const verdict = await bench.verdict(bench.send('alice', 'im/to/u/bob', '{"cid":"c1","body":"x"}'))
        t.match(verdict, onFailure === 'pass' ? { ok: true } : { ok: false, code, cid: 'c1' })
        const counts = bench.engine.plugins[0]?.counts
        t.match(counts, code === 'unavailable' ? { timedOut: 1, failed: 0, refused: 0 } : { timedOut: 0, failed: 1, refused: 0 })
        t.equal(bench.envelopes().length, onFailure === 'pass' ? 1 : 0)
      })
    }
  }
})

await t.test('the first refusal ends it, with its reason', async t => {
  const asked: string[] = []
  const gate = (name: string, answer: ReturnType<NonNullable<PluginInstance['onPublish']>>): Plugin =>
    plugin({ onPublish () { asked.push(name); return answer } }, { name })
  const bench = await openBench(t, {
    plugins: [
      loadedPlugin(gate('one', undefined)),
      loadedPlugin(gate('two', Promise.resolve({ code: 'rate_limited', reason: 'slowly', retryAfterMs: 5 }))),
      loadedPlugin(gate('three', undefined))
    ]
  })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')), { ok: false, code: 'rate_limited', reason: 'slowly', retryAfterMs: 5 })
  t.strictSame(asked, ['one', 'two'])
})

await t.test('listeners hear of each stored message once, and their throws harm nobody', async t => {
  const heard: Stored[] = []
  const closed: string[] = []
  const bench = await openBench(t, {
    plugins: [
      loadedPlugin(plugin({ onStored () { throw new Error('x') }, close () { closed.push('a'); throw new Error('y') } }, { name: 'a' })),
      loadedPlugin(plugin({ onStored (message) { heard.push(message) }, close () { closed.push('b') } }, { name: 'b' }))
    ]
  })
  await bench.verdict(bench.send('alice', 'im/to/u/bob', '{"cid":"c","body":{"a":1}}'))
  await bench.verdict(bench.send('alice', 'im/to/u/bob', '{"cid":"c","body":{"a":1}}'))
  const { host } = bench.engine
  const [outcome] = await host.commit([{ op: 'message', conv: 'g:dev', from: 'alice', id: host.newId(), ts: 5, counts: false, marksSender: false, content: '"id":"i","from":"alice","to":"g/dev","ts":5,"type":"system","body":"made"' }])
  t.equal(outcome?.seq, 1)
  t.match(heard, [
    { from: 'alice', session: 'alice/phone', conv: 'd:alice:bob', to: { kind: 'user', id: 'bob' }, type: 'json', body: { a: 1 }, cid: 'c', seq: 1 },
    { from: 'alice', session: '', conv: 'g:dev', to: { kind: 'group', id: 'dev' }, type: 'system', body: 'made', seq: 1 }
  ])
  t.equal(heard.length, 2)
  t.match(bench.engine.plugins[0]?.counts, { listenerFailed: 2 })
  await bench.engine.close()
  t.strictSame(closed, ['b', 'a'])
})

await t.test('a plugin that does not start stops the start and closes the others', async t => {
  let closed = 0
  const bench = await openBench(t)
  const { createEngine } = await import('../../broker/engine/engine.ts')
  await t.rejects(createEngine({
    store: bench.store,
    limits: bench.engine.host.limits,
    mode: 'dev',
    log: bench.engine.host.log,
    receiptIntervalMs: 10,
    output: () => {},
    plugins: [
      loadedPlugin(plugin({ close () { closed += 1 } }, { name: 'good' })),
      loadedPlugin(plugin({}, { name: 'bad', start () { throw new Error('no port') } }))
    ]
  }), { name: 'PluginError', message: "plugin 'bad' cannot be started: no port" })
  t.equal(closed, 1)
})
