/** docs/clients.md: its snippets are parts of the programs that are tested, and its versions are those. */
import { readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { snippetPaths, withSnippets } from '../support/client-snippets.ts'
import { packageRoot } from '../support/package-root.ts'

const read = (path: string): string => readFileSync(new URL(path, packageRoot), 'utf8')
const document = read('docs/clients.md')

await t.test('the snippets are as in the programs, and all are there', async t => {
  t.equal(document, withSnippets(document), '`npm run documents` writes them')
  const marked = readdirSync(new URL('test/clients/', packageRoot), { recursive: true, encoding: 'utf8' })
    .filter(path => /\.(mjs|sh|py|go|java|rs|c)$/.test(path) && read(`test/clients/${path}`).includes('<snippet>'))
  t.ok(marked.length >= 10, `${marked.length} programs`)
  t.same(snippetPaths(document).sort(), marked.sort())
})

await t.test('the versions are those that are tested', async t => {
  const pinned: Array<[link: string, file: string, version: RegExp]> = [
    ['npm-mqtt', 'npm-mqtt/package.json', /npm:mqtt@(4[^"]+)"/],
    ['npm-mqtt', 'npm-mqtt/package.json', /npm:mqtt@(5[^"]+)"/],
    ['eclipse-paho-for-python', 'paho-python/requirements.txt', /^paho-mqtt==(\S+)/],
    ['eclipse-paho-for-go', 'paho-go/go.mod', /paho\.mqtt\.golang (\S+)/],
    ['eclipse-paho-for-go', 'paho-go/go.mod', /paho\.golang (\S+)/],
    ['eclipse-paho-for-java', 'java/pom.xml', /client\.mqttv3<\/artifactId>\s+<version>(.+)<\/version>/],
    ['eclipse-paho-for-java', 'java/pom.xml', /mqttv5\.client<\/artifactId>\s+<version>(.+)<\/version>/],
    ['hivemqs-client-for-java', 'java/pom.xml', /hivemq-mqtt-client<\/artifactId>\s+<version>(.+)<\/version>/],
    ['rumqttc', 'rumqttc/Cargo.toml', /rumqttc = \{ version = "=([^"]+)"/]
  ]
  for (const [link, file, version] of pinned) {
    const found = version.exec(read(`test/clients/${file}`))?.[1]
    t.ok(found !== undefined && document.includes(`(#${link}) | ${found} |`), `${file}: ${found ?? 'no version'}`)
  }
})
