/** What plugins do wrong, each kind, for each hook. */
/* eslint no-throw-literal: 0, prefer-promise-reject-errors: 0 -- plain JavaScript throws anything */
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { z } from 'zod'
import { loadPlugins } from '../../broker/engine/plugins/plugin-loader.ts'
import { Strays } from '../../broker/engine/plugins/strays.ts'
import { describeFault } from '../../broker/engine/plugins/plugin-fault.ts'
import type { Plugin, PluginContext, PluginInstance, Stored } from '../../broker/plugin-api.ts'
import { loadedPlugin, openBench } from '../support/engine-bench.ts'

const plugin = (instance: unknown, more: Partial<Plugin> = {}): Plugin => ({
  name: 'probe', description: 'A test', options: z.unknown(), timeoutMs: 20, onFailure: 'refuse', start: () => instance as PluginInstance, ...more
})

/** A log whose lines a test can read. */
function memoryLog (): { log: pino.Logger, lines: Array<Record<string, unknown>> } {
  const lines: Array<Record<string, unknown>> = []
  return { lines, log: pino({}, { write (line: string) { lines.push(JSON.parse(line) as Record<string, unknown>) } }) }
}

const unreadable = (): object => ({ get message () { throw new Error('getter') }, toString () { throw new Error('toString') } })
/** Everything an answer can be that is none. */
const wrongs: Record<string, () => unknown> = {
  throws: () => { throw new Error('sync') },
  'throws what cannot be read': () => { throw unreadable() as Error },
  rejects: async () => { await setImmediate(); throw new Error('async') },
  'rejects with nothing': () => Promise.reject(undefined),
  'rejects with what cannot be read': () => Promise.reject(unreadable()),
  'a thenable that throws': () => ({ then () { throw new Error('then') } }),
  'a thenable whose getter throws': () => ({ get then () { throw new Error('then getter') } }),
  'a promise with a then of its own': () => Object.assign(Promise.resolve(), { then () { throw new Error('own then') } }),
  'a getter that throws': () => ({ get code () { throw new Error('code getter') } }),
  'a number': () => 7,
  'a function': () => () => {}
}

await t.test('onPublish', async t => {
  for (const [name, wrong] of Object.entries(wrongs)) {
    for (const onFailure of ['refuse', 'pass'] as const) {
      await t.test(`${name}, ${onFailure}`, async t => {
        const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: wrong }, { onFailure }))] })
        t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')), onFailure === 'pass' ? { ok: true } : { ok: false, code: 'internal' })
        t.match(bench.engine.plugins[0]?.counts, { failed: 1, refused: 0 })
      })
    }
  }
  await t.test('a rejection behind the timeout', async t => {
    let reject: (error: Error) => void = () => {}
    const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: () => new Promise((_resolve, _reject) => { reject = _reject }) }))] })
    t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')), { ok: false, code: 'unavailable' })
    reject(new Error('late'))
    await setImmediate()
    t.match(bench.engine.plugins[0]?.counts, { timedOut: 1, failed: 0 })
  })
  await t.test('a refusal of odd parts', async t => {
    const reason = 'a\0b\ud800' + 'x'.repeat(70_000)
    const bench = await openBench(t, { plugins: [loadedPlugin(plugin({ onPublish: () => ({ code: 'filtered', reason, retryAfterMs: Infinity }) }))] })
    const verdict = await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x')) as { reason: string, retryAfterMs?: number }
    t.equal(verdict.reason.slice(0, 4), 'ab\ufffdx')
    t.ok(verdict.reason.length <= 1000, 'it fits in a packet')
    t.equal(verdict.retryAfterMs, undefined)
  })
})

await t.test('onStored', async t => {
  for (const [name, wrong] of Object.entries(wrongs)) {
    if (name.startsWith('a number') || name.startsWith('a function') || name.startsWith('a getter')) continue
    await t.test(name, async t => {
      const heard: Stored[] = []
      const bench = await openBench(t, {
        plugins: [loadedPlugin(plugin({ onStored: wrong }, { name: 'bad' })), loadedPlugin(plugin({ onStored (message: Stored) { heard.push(message) } }, { name: 'good' }))]
      })
      for (const body of ['1', '2']) t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', body)), { ok: true })
      await setImmediate()
      await setImmediate()
      t.match(bench.engine.plugins[0]?.counts, { listenerFailed: 2 })
      t.equal(heard.length, 2, 'the next one hears of it all the same')
    })
  }
})

await t.test('onStored: promises that are open are bounded', async t => {
  const { log, lines } = memoryLog()
  const releases: Array<() => void> = []
  let called = 0
  const slow = { onStored () { called++; return new Promise<void>(resolve => { releases.push(resolve) }) } }
  const bench = await openBench(t, { log, plugins: [loadedPlugin(plugin(slow))], pluginLimits: { startTimeoutMs: 1000, closeTimeoutMs: 1000, listenerPending: 3 } })
  for (let i = 0; i < 10; i++) await bench.verdict(bench.send('alice', 'im/to/u/bob', String(i)))
  t.equal(called, 3)
  t.match(bench.engine.plugins[0]?.counts, { listenerSkipped: 7, listenerFailed: 0 })
  t.equal(lines.filter(line => String(line['msg']).includes('too many of its promises are open')).length, 1, 'one line, not seven')
  releases.shift()?.()
  await setImmediate()
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'again'))
  t.equal(called, 4, 'when one has settled it hears again')
})

await t.test('start', async t => {
  const cases: Array<[string, Partial<Plugin>, RegExp]> = [
    ['nothing', { start: (() => {}) as never }, /^plugin 'probe' cannot be started: start must answer with an object/],
    ['a promise of nothing', { start: (async () => null) as never }, /^plugin 'probe' cannot be started: start must answer with an object/],
    ['a throw of nothing', { start () { throw undefined as unknown as Error } }, /^plugin 'probe' cannot be started: undefined/],
    ['what cannot be read', { start () { throw unreadable() as Error } }, /^plugin 'probe' cannot be started: something that cannot be shown/],
    ['a thenable that throws', { start: (() => ({ then () { throw new Error('then') } })) as never }, /^plugin 'probe' cannot be started: then$/],
    ['a getter that throws', { start: () => ({ get onPublish () { throw new Error('hook getter') } }) as never }, /^plugin 'probe' cannot be started: hook getter/],
    ['a hook that is none', { start: () => ({ onStored: 7 }) as never }, /onStored must be a function/],
    ['no end', { start: () => new Promise(() => {}) }, /^plugin 'probe' cannot be started: start did not end within 20 ms/]
  ]
  const bench = await openBench(t)
  const { createEngine } = await import('../../broker/engine/engine.ts')
  for (const [name, more, message] of cases) {
    await t.rejects(createEngine({
      store: bench.store,
      limits: bench.engine.host.limits,
      mode: 'dev',
      log: bench.engine.host.log,
      receiptIntervalMs: 10,
      output: () => {},
      pluginLimits: { startTimeoutMs: 20, closeTimeoutMs: 20, listenerPending: 1 },
      plugins: [loadedPlugin(plugin({}, more))]
    }), { name: 'PluginError', message }, name)
  }
})

await t.test('start: an instance that comes too late is closed', async t => {
  const bench = await openBench(t)
  const { createEngine } = await import('../../broker/engine/engine.ts')
  let give: (instance: PluginInstance) => void = () => {}
  let closed = 0
  await t.rejects(createEngine({
    ...{ store: bench.store, limits: bench.engine.host.limits, mode: 'dev', log: bench.engine.host.log, receiptIntervalMs: 10, output: () => {} },
    pluginLimits: { startTimeoutMs: 20, closeTimeoutMs: 20, listenerPending: 1 },
    plugins: [loadedPlugin(plugin({}, { start: () => new Promise(resolve => { give = resolve }) }))]
  }), { name: 'PluginError' })
  give({ close () { closed++; throw new Error('and that fails') } })
  await setImmediate()
  t.equal(closed, 1)
})

await t.test('close', async t => {
  for (const [name, wrong] of [...Object.entries(wrongs), ['no end', () => new Promise(() => {})] as const]) {
    await t.test(name, async t => {
      let closed = 0
      const bench = await openBench(t, {
        pluginLimits: { startTimeoutMs: 1000, closeTimeoutMs: 20, listenerPending: 1 },
        plugins: [loadedPlugin(plugin({ close () { closed++ } }, { name: 'first' })), loadedPlugin(plugin({ close: wrong }, { name: 'last' }))]
      })
      await bench.engine.close()
      t.equal(closed, 1)
    })
  }
})

await t.test('loading', async t => {
  const baseDir = t.testdir({
    'slow.mjs': 'await new Promise(resolve => setTimeout(resolve, 60_000).unref()); export default 1',
    'thrower.mjs': 'throw undefined',
    'getter.mjs': "export default { get name () { throw new Error('name getter') } }",
    'schema.mjs': "export default { name: 'schema', description: 'x', timeoutMs: 5, onFailure: 'pass', start () {}, options: { safeParse () { throw new Error('a schema') } } }",
    'answers.mjs': "export default { name: 'answers', description: 'x', timeoutMs: 5, onFailure: 'pass', start () {}, options: { safeParse () {} } }"
  })
  // Only what hangs may depend on the time: the others take theirs on a busy machine.
  const load = (name: string) => loadPlugins([{ name }], { baseDir, timeoutMs: name === './slow.mjs' ? 50 : 30_000 })
  await t.rejects(load('./slow.mjs'), { name: 'PluginError', message: /slow\.mjs.*did not end within 50 ms/ })
  await t.rejects(load('./thrower.mjs'), { name: 'PluginError', message: /thrower\.mjs/ })
  await t.rejects(load('./getter.mjs'), { name: 'PluginError', message: /getter\.mjs.*name getter/ })
  await t.rejects(load('./schema.mjs'), { name: 'PluginError', message: /options of plugin 'schema': they cannot be checked: a schema/ })
  await t.rejects(load('./answers.mjs'), { name: 'PluginError', message: /options of plugin 'answers': they cannot be checked/ })
})

await t.test('what a plugin calls of the server does not throw', async t => {
  const { log, lines } = memoryLog()
  let context: PluginContext | undefined
  await openBench(t, { log, plugins: [loadedPlugin(plugin({}, { start (_options, given) { context = given; return {} } }))] })
  context?.log.info({ get x () { throw new Error('a field') } }, 'y')
  t.match(lines.at(-1), { plugin: 'probe', err: { message: 'a field' } })
  await t.rejects(async () => await context?.blocks(undefined as never, 'x'), TypeError)
})

await t.test('what nobody caught', async t => {
  const { log, lines } = memoryLog()
  const strays = new Strays(log)
  t.equal(strays.judge('unhandledRejection', new Error('of the server')), true)
  t.equal(strays.judge('unhandledRejection', unreadable()), true)
  t.equal(strays.judge('uncaughtException', new Error('of the server')), false, 'the server stops')
  t.strictSame(strays.counts, { rejections: 2, exceptions: 1 })
  t.match(lines[0], { level: 50, err: { message: 'of the server', stack: /plugin-faults\.test/ }, rejections: 1 })
  t.match(lines[2], { level: 60 })

  // Within a plugin's own timer: no process event of this test's runner is needed to know whose it is.
  const results: boolean[] = []
  const bench = await openBench(t, {
    plugins: [loadedPlugin(plugin({
      async onStored () {
        await delay(1)
        const { message, stack } = describeFault(new Error('mine'))
        results.push(strays.judge('uncaughtException', { message, stack }))
        const broken = new Error('inside the server')
        broken.stack = `Error: x\n    at run (${new URL('../../broker/engine/intake/lanes.ts', import.meta.url).pathname}:1:1)`
        results.push(strays.judge('uncaughtException', broken))
      }
    }))]
  })
  await bench.verdict(bench.send('alice', 'im/to/u/bob', 'x'))
  while (results.length < 2) await delay(1)
  t.strictSame(results, [true, false], 'the plugin\'s own is no reason to stop, one that broke off the server\'s code is')
  t.match(bench.engine.plugins[0]?.counts, { stray: 2 })
  const before = lines.length
  for (let i = 0; i < 1000; i++) strays.judge('unhandledRejection', new Error('flood'))
  t.ok(lines.length - before < 20, 'a flood of them does not flood the log')
})
