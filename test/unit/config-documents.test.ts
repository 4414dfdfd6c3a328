import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { packageRoot } from '../support/package-root.ts'
import { configKeys } from '../../broker/config/keys.ts'
import { loadConfig } from '../../broker/config/load.ts'
import { effectiveYaml, markdownTable, plainConfig, sampleYaml } from '../../broker/config/present.ts'
import { configJsonSchema, configSchema, defaultConfig } from '../../broker/config/schema.ts'
import { yamlSource } from '../../broker/config/yaml-source.ts'

await t.test('config/sabethes.yaml holds every key with its default', async t => {
  const file = new URL('config/sabethes.yaml', packageRoot)
  const { config, origins } = loadConfig({ file: file.pathname })
  t.strictSame(config, defaultConfig())
  t.strictSame([...origins.keys()].sort(), configKeys.map(key => key.path).sort())
  t.equal(readFileSync(file, 'utf8'), sampleYaml(defaultConfig()), 'and the texts of the schema')
})

await t.test('the tables of docs/configuration.md are those of `sabethes config env --markdown`', async t => {
  const text = readFileSync(new URL('docs/configuration.md', packageRoot), 'utf8')
  const [, tables] = /<!-- keys -->\n([^]*)<!-- \/keys -->/.exec(text) ?? []
  t.equal(tables, markdownTable())
  for (const { path, env } of configKeys) t.ok(markdownTable().includes(`| \`${path}\`<br>\`${env}\` |`), path)
})

await t.test('every key has a text, and variables are unique', async t => {
  for (const key of configKeys) t.match(key.description, /^.{10,}\.$/, key.path)
  t.equal(new Set(configKeys.map(key => key.env)).size, configKeys.length)
})

await t.test('the effective configuration can be read back, and shows origins but no secrets', async t => {
  const { config, origins } = loadConfig({ folder: t.testdir(), flags: { httpPort: '9', set: ['mqtt.openTopics=a/#', 'plugins.x.apiToken=hush', 'plugins.x.deep={"password":"hush","n":1}'] } })
  const text = effectiveYaml(config, origins)
  t.match(text, 'port: 9 # --http-port')
  t.match(text, '# --set mqtt.openTopics')
  t.notMatch(text, 'hush')
  t.match(text, 'n: 1')
  t.notMatch(text, /1883 #/)
  t.strictSame(yamlSource(text, 'x').problems, [])
  t.strictSame(parse(text), plainConfig(config))
})

await t.test('JSON Schema for editors', async t => {
  const schema = configJsonSchema() as { properties: Record<string, { properties: Record<string, unknown> }> }
  t.match(schema.properties['http']?.properties['port'], { type: 'integer', minimum: 0, maximum: 65535, default: 8080, description: /Port/ })
  t.match(schema, { additionalProperties: false })
  t.strictSame(configSchema.parse(plainConfig(defaultConfig())), defaultConfig())
})

await t.test('the fixed limits of docs/configuration.md are those of the code', async t => {
  const [, table = ''] = readFileSync(new URL('docs/configuration.md', packageRoot), 'utf8').split('## Fixed limits')
  const rows = [...table.matchAll(/^\|.*\| (\d+) \| `([\w./-]+)` `(\w+)` \|$/gm)]
  t.ok(rows.length > 20)
  for (const [, value, file = '', name = ''] of rows) {
    const [, code = ''] = new RegExp(`^(?:export )?const ${name} = ([\\w *]+)$`, 'm').exec(readFileSync(new URL(file, packageRoot), 'utf8')) ?? []
    const factors = code.split('*').map(factor => Number(factor.replaceAll('_', '')))
    t.equal(factors.reduce((product, factor) => product * factor, 1), Number(value), `${file}: ${name}`)
  }
})
