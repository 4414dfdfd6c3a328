/** The plugin of docs/plugins/README.md as written, from a clone: with the package's own name, in a folder below it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadPlugins } from '../../broker/engine/plugins/plugin-loader.ts'
import { openBench } from '../support/engine-bench.ts'
import { packageRoot } from '../support/package-root.ts'

await t.test('it loads, takes its options, and refuses', async t => {
  const [, source = ''] = /```js\n([^]*?)```/.exec(readFileSync(new URL('docs/plugins/README.md', packageRoot), 'utf8')) ?? []
  t.match(source, "from 'sabethes/plugin-api'")
  const baseDir = t.testdir({ plugins: { 'no-shouting.mjs': source } })
  const load = (options: Record<string, unknown>): ReturnType<typeof loadPlugins> =>
    loadPlugins([{ name: './plugins/no-shouting.mjs', options }, { name: 'rate-limit' }], { baseDir })
  const plugins = await load({ maxCapitals: 3 })
  t.same(plugins.map(({ name }) => name), ['rate-limit', 'no-shouting'], 'it comes after the rate limit')
  t.same(plugins[1]?.options, { maxCapitals: 3 })
  t.same((await load({}))[1]?.options, { maxCapitals: 20 })
  await t.rejects(load({ maxCapital: 3 }), { name: 'PluginError' })
  const bench = await openBench(t, { plugins })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'Hello')), { ok: true })
  t.match(await bench.verdict(bench.send('alice', 'im/to/u/bob', 'HELLO')), { ok: false, code: 'filtered', reason: 'please do not shout' })
})
