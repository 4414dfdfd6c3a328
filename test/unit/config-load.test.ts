import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isLoopback } from '../../broker/network.ts'
import { envName } from '../../broker/config/keys.ts'
import { loadConfig, type LoadOptions } from '../../broker/config/load.ts'
import { ConfigError } from '../../broker/config/problem.ts'
import { defaultConfig } from '../../broker/config/schema.ts'
import { editDistance, suggest } from '../../broker/config/suggestion.ts'

/** The lines of the error that loading ends with. */
function mistakes (options: LoadOptions): string[] {
  try {
    loadConfig(options)
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
  return []
}

await t.test('without anything it is the defaults', async t => {
  const { config, origins, file } = loadConfig({ folder: t.testdir() })
  t.strictSame(config, defaultConfig())
  t.equal(config.mqtt.tcp.port, 1883)
  t.equal(config.mqtt.tcp.host, '127.0.0.1')
  t.strictSame(config.plugins.map(({ name, enabled }) => [name, enabled]), [['rate-limit', true], ['block-list', true]])
  t.equal(origins.size, 0)
  t.equal(file, undefined)
})

await t.test('file < environment < flags, key by key', async t => {
  const folder = t.testdir({ 'sabethes.yaml': 'mqtt:\n  tcp:\n    port: 1\n    host: 127.0.0.2\nhttp:\n  port: 2\nstore:\n  path: a\n' })
  const env = { SABETHES_MQTT__TCP__PORT: '10', SABETHES_HTTP__PORT: '20', SABETHES_UNRELATED_SERVICE_HOST: '10.0.0.1', OTHER: 'x' }
  const { config, origins, file } = loadConfig({ folder, env, flags: { mqttPort: '100', set: ['messages.maxBytes=5', 'log.pretty=off'] } })
  t.equal(config.mqtt.tcp.port, 100)
  t.equal(config.mqtt.tcp.host, '127.0.0.2')
  t.equal(config.http.port, 20)
  t.equal(config.store.path, 'a')
  t.equal(config.messages.maxBytes, 5)
  t.equal(config.log.pretty, false)
  t.equal(file, 'sabethes.yaml')
  t.strictSame(Object.fromEntries(origins), {
    'mqtt.tcp.port': '--mqtt-port',
    'mqtt.tcp.host': 'sabethes.yaml:4:5',
    'http.port': 'SABETHES_HTTP__PORT',
    'store.path': 'sabethes.yaml:8:3',
    'messages.maxBytes': '--set messages.maxBytes',
    'log.pretty': '--set log.pretty'
  })
})

await t.test('another file', async t => {
  const folder = t.testdir({ 'other.yaml': 'http: { port: 5 }' })
  t.equal(loadConfig({ folder, file: 'other.yaml' }).config.http.port, 5)
  t.match(mistakes({ folder, file: 'none.yaml' }), [/^none\.yaml: cannot be read: ENOENT/])
})

await t.test('names of variables', async t => {
  t.equal(envName('mqtt.limits.keepAliveMaxSeconds'), 'SABETHES_MQTT__LIMITS__KEEP_ALIVE_MAX_SECONDS')
  t.equal(envName('mqtt.limits.pendingQos2'), 'SABETHES_MQTT__LIMITS__PENDING_QOS2')
})

await t.test('lists and files in the environment', async t => {
  const folder = t.testdir({ path: 'from-file\n' })
  const load = (env: NodeJS.ProcessEnv) => loadConfig({ folder, env }).config
  t.strictSame(load({ SABETHES_MQTT__OPEN_TOPICS: 'a/#, b/+' }).mqtt.openTopics, ['a/#', 'b/+'])
  t.strictSame(load({ SABETHES_MQTT__OPEN_TOPICS: '["a,b"]' }).mqtt.openTopics, ['a,b'])
  t.strictSame(load({ SABETHES_MQTT__OPEN_TOPICS: '' }).mqtt.openTopics, [])
  t.equal(load({ SABETHES_STORE__PATH_FILE: join(folder, 'path') }).store.path, 'from-file')
  t.strictSame(mistakes({ folder, env: { SABETHES_STORE__PATH_FILE: 'x', SABETHES_STORE__PATH: 'y' } }),
    ['SABETHES_STORE__PATH_FILE: and SABETHES_STORE__PATH are both set: remove one'])
  t.match(mistakes({ folder, env: { SABETHES_STORE__PATH_FILE: join(folder, 'none') } }), [/store\.path cannot read/])
  t.match(mistakes({ folder, env: { SABETHES_MQTT__OPEN_TOPICS: '["a' } }), [/is not valid JSON/])
})

await t.test('unknown names are refused with a suggestion', async t => {
  const folder = t.testdir({ 'sabethes.yaml': 'mqtt:\n  tcp:\n    prot: 1\nport: 2\n__proto__: 3\n"mqtt.tcp": 4\n' })
  t.strictSame(mistakes({
    folder,
    env: { SABETHES_HTTP_PORT: '80', SABETHES_HTTP__PROT_FILE: 'x', SABETHES_PASSWORD: 'secret' },
    flags: { set: ['store.pth=x', 'http=1', 'nonsense', 'zzzzzzzzzzzzzzzzzzzzzzzz=1'] }
  }), [
    'sabethes.yaml:3:5: unknown key mqtt.tcp.prot; did you mean mqtt.tcp.port?',
    'sabethes.yaml:4:1: unknown key port; did you mean mqtt.tcp.port or http.port?',
    'sabethes.yaml:5:1: unknown key __proto__',
    'sabethes.yaml:6:1: mqtt.tcp is a section, not a key',
    'SABETHES_HTTP_PORT: is not a variable of the configuration; did you mean SABETHES_HTTP__PORT?',
    'SABETHES_HTTP__PROT_FILE: is not a variable of the configuration; did you mean SABETHES_HTTP__PORT_FILE?',
    '--set store.pth: unknown key store.pth; did you mean store.path?',
    '--set http: http is a section, not a key',
    "--set: expects key.path=value, not 'nonsense'",
    '--set zzzzzzzzzzzzzzzzzzzzzzzz: unknown key zzzzzzzzzzzzzzzzzzzzzzzz'
  ])
})

await t.test('what Kubernetes and Docker set for a service named sabethes is no mistake', async t => {
  const env = {
    SABETHES_SERVICE_HOST: '10.0.0.1',
    SABETHES_SERVICE_PORT: '1883',
    SABETHES_SERVICE_PORT_MQTT: '1883',
    SABETHES_PORT: 'tcp://10.0.0.1:1883',
    SABETHES_PORT_1883_TCP: 'tcp://10.0.0.1:1883',
    SABETHES_PORT_1883_TCP_PROTO: 'tcp',
    SABETHES_HTTP_PORT: 'tcp://10.0.0.1:80'
  }
  t.strictSame(mistakes({ folder: t.testdir(), env }), [])
})

await t.test('wrong values are refused where they stand', async t => {
  const folder = t.testdir({
    'sabethes.yaml': [
      'mqtt:', '  tcp:', '    port: 65536', '    host: ""', '  prefix: a/b', '  openTopics:', '    - a/#', '    - a#', '  limits: 3', '  ws:', '    origins: [https://x.example/path]',
      'http:', '  port:', 'auth:', '  mode: open', 'log: { pretty: 7 }', 'store: { path: [a] }', 'messages: { maxBytes: 1.5 }', 'plugins: 3'
    ].join('\n')
  })
  t.strictSame(mistakes({ folder }).sort(), [
    'sabethes.yaml:9:3: mqtt.limits must be a section: keys and values beneath it',
    'sabethes.yaml:13:3: http.port is empty: give it a value or remove the line',
    'sabethes.yaml:3:11: mqtt.tcp.port must be at most 65535, not 65536',
    'sabethes.yaml:4:11: mqtt.tcp.host must not be empty',
    'sabethes.yaml:5:11: mqtt.prefix must be 1 to 64 of A-Z a-z 0-9 . _ -, not "a/b"',
    'sabethes.yaml:8:7: mqtt.openTopics[1] must be a topic filter such as home/#, not "a#"',
    'sabethes.yaml:11:15: mqtt.ws.origins[0] must be an origin such as https://chat.example.com, or *, not "https://x.example/path"',
    'sabethes.yaml:15:9: auth.mode must be one of dev, password, jwt, webhook, not "open"',
    'sabethes.yaml:16:16: log.pretty must be true, false or auto, not 7',
    'sabethes.yaml:17:16: store.path must be text, not ["a"]',
    'sabethes.yaml:18:23: messages.maxBytes must be a whole number, not 1.5',
    'sabethes.yaml:19:10: plugins must be a list of names, or names with their options'
  ].sort())
  t.strictSame(mistakes({ folder: t.testdir({}), env: { SABETHES_HTTP__PORT: '8o80', SABETHES_AUTH__DEV_ANYWHERE: 'maybe' }, flags: { mqttPort: '-1' } }), [
    "SABETHES_AUTH__DEV_ANYWHERE: auth.devAnywhere must be one of true, false, not 'maybe'",
    "SABETHES_HTTP__PORT: http.port must be a whole number, not '8o80'",
    '--mqtt-port: mqtt.tcp.port must be at least 0, not -1'
  ])
})

await t.test('open topics are filters, or rules', async t => {
  const load = (openTopics: unknown) => loadConfig({ folder: t.testdir(), flags: { set: [`mqtt.openTopics=${JSON.stringify(openTopics)}`] } }).config.mqtt.openTopics
  const rules = ['home/#', { filter: 'news/#', read: 'everybody', write: ['alice', 'b.o-b_1'] }, { filter: 'd/{user}/{clientId}/#' }, { filter: '{user}@{clientId}/{clientId}:x:{user}' }, { filter: 'a{b', write: 'nobody' }]
  t.strictSame(load(rules), rules)
  const cases: Array<[unknown, RegExp]> = [
    [['a#'], /openTopics\[0\] must be a topic filter such as home\/#, not "a#"$/],
    [['ok', 5], /openTopics\[1\] must be a topic filter such as home\/#, or \{ filter: home\/#, read: …, write: … \}$/],
    [[{ filter: 'a', raed: [] }], /openTopics\[0\] must be a topic filter .*: there is no raed, not/],
    [[{ read: ['a'] }], /must have a filter, such as home\/#$/],
    [[{ filter: 'a', read: 'alice' }], /must say for read everybody, nobody or a list of user names$/],
    [[{ filter: 'a', write: [] }], /openTopics\[0\].write must be everybody, nobody or a list of user names/],
    [[{ filter: 'a', write: ['a/b'] }], /openTopics\[0\].write\[0\] must be a user name: .*, not "a\/b"$/],
    [[{ filter: 'a#' }], /must be a topic filter such as home\/#/],
    [['d/{user}-{clientId}'], /must have a character between \{user\} and \{clientId\} in one level that no user name has, such as @: .*, not "d\/\{user\}-\{clientId\}"$/],
    [[{ filter: 'd/{clientId}{user}/#' }], /must have a character between \{clientId\} and \{user\} in one level/],
    [['d/{user}@{clientId}._{user}'], /must have a character between \{clientId\} and \{user\} in one level/],
    [['a/{usr}'], /may have \{user\} and \{clientId\} in its filter, there is no \{usr\}/],
    [[{ filter: 'a', read: 'nobody', write: 'nobody' }], /"a" opens nothing: nobody may read or write it$/],
    [[{ filter: 'im/x' }], /opens nothing: topics of the chat/]
  ]
  for (const [given, message] of cases) {
    const found = mistakes({ folder: t.testdir(), flags: { set: [`mqtt.openTopics=${JSON.stringify(given)}`] } })
    t.equal(found.length, 1, found.join(' | '))
    t.match(found[0], message, JSON.stringify(given))
  }
  t.strictSame(mistakes({ folder: t.testdir(), flags: { set: ['http.host=0.0.0.0', 'mqtt.tcp.host=0.0.0.0', 'auth.mode=password', 'mqtt.openTopics=[{"filter":"#","read":["alice"],"write":"nobody"}]'] } }), [], 'not open to everybody')
  t.match(mistakes({ folder: t.testdir(), flags: { set: ['mqtt.tcp.host=0.0.0.0', 'auth.mode=password', 'mqtt.openTopics=[{"filter":"#","write":["alice"]}]'] } })[0], /opens every topic outside the prefix/)
})

await t.test('a broken file is refused with its line', async t => {
  const folder = t.testdir()
  for (const [text, line] of [['http:\n  port: 1\n  port: 2\n', 3], ['http: [1\n', 2], ['a: b: c', 1], ['- a\n', 0]] as const) {
    writeFileSync(join(folder, 'sabethes.yaml'), text)
    t.match(mistakes({ folder })[0], line === 0 ? /must be a section/ : new RegExp(`^sabethes\\.yaml:${line}:\\d+: `), text)
  }
  for (const text of ['', '# nothing\n', 'mqtt:\n', 'base: &p 5\n']) {
    writeFileSync(join(folder, 'sabethes.yaml'), text)
    t.equal(mistakes({ folder }).length, text.startsWith('base') ? 1 : 0, JSON.stringify(text))
  }
  writeFileSync(join(folder, 'sabethes.yaml'), 'http: &web\n  port: &p 5\nmqtt:\n  tcp:\n    port: *p\n')
  t.equal(loadConfig({ folder }).config.mqtt.tcp.port, 5, 'aliases are followed')
})

await t.test('dev mode and "#" stay on loopback unless forced', async t => {
  const folder = t.testdir()
  for (const key of ['mqtt.tcp.host', 'http.host']) {
    const [line, ...more] = mistakes({ folder, flags: { set: [`${key}=0.0.0.0`] } })
    t.match(line, `--set ${key}: ${key} 0.0.0.0 is not a loopback address`)
    t.match(line, '--set auth.devAnywhere=true')
    t.strictSame(more, [])
    t.strictSame(mistakes({ folder, flags: { set: [`${key}=0.0.0.0`, 'auth.mode=password'] } }), [])
    t.strictSame(mistakes({ folder, flags: { set: [`${key}=0.0.0.0`, 'auth.devAnywhere=true'] } }), [])
    for (const filter of ['#', '+/#']) {
      t.match(mistakes({ folder, flags: { set: [`${key}=::`, 'auth.mode=password', `mqtt.openTopics=${filter}`] } }), [/mqtt\.openTopics/])
    }
    t.strictSame(mistakes({ folder, flags: { set: [`${key}=::`, 'auth.mode=password', 'mqtt.openTopics=home/#'] } }), [])
  }
  t.strictSame(mistakes({ folder, flags: { set: ['mqtt.openTopics=#'] } }), [])
  t.match(mistakes({ folder, flags: { set: ['mqtt.elsewhere.redirect=true'] } }), [/mqtt\.elsewhere\.redirect/])
  t.match(mistakes({ folder, flags: { set: ['mqtt.elsewhere.address=a  b'] } }), [/mqtt\.elsewhere\.address/])
  t.strictSame(mistakes({ folder, flags: { set: ['mqtt.elsewhere.redirect=true', 'mqtt.elsewhere.address=a:1883 b:1883'] } }), [])
  for (const host of ['127.0.0.1', '127.3.2.1', '::1', '[::1]', 'LOCALHOST', '::ffff:127.0.0.1']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '127.0.0.1.example.com', '128.0.0.1', 'localhost.example.com', '']) t.notOk(isLoopback(host), host)
})

await t.test('keys that must fit together', async t => {
  const folder = t.testdir()
  t.match(mistakes({ folder, flags: { set: ['messages.maxBytes=262144'] } }), [/^--set messages\.maxBytes: .* do not fit in mqtt\.limits\.packetBytes \(262144\)/])
  t.strictSame(mistakes({ folder, flags: { set: ['messages.maxBytes=261888'] } }), [])
  t.match(mistakes({ folder, flags: { set: ['sessions.maxExpirySeconds=10'] } }), [/^sessions\.expirySeconds 2592000 is more than sessions\.maxExpirySeconds \(10\)/])
})

await t.test('plugins: names with options are added, a list is the whole', async t => {
  const folder = t.testdir()
  const plugins = (...set: string[]) => loadConfig({ folder, flags: { set } }).config.plugins
  const on = { enabled: true, options: {} }
  t.strictSame(plugins('plugins={"./mine.js":{"a":1},"block-list":{"enabled":false}}'), [
    { name: 'rate-limit', ...on }, { name: 'block-list', enabled: false, options: {} }, { name: './mine.js', enabled: true, options: { a: 1 } }
  ])
  t.strictSame(plugins('plugins=./mine.js,block-list'), [{ name: './mine.js', ...on }, { name: 'block-list', ...on }])
  t.strictSame(plugins('plugins=./mine.js', 'plugins../mine.js.a=true', 'plugins.rate-limit.burst=3'), [
    { name: 'rate-limit', enabled: false, options: { burst: 3 } }, { name: 'block-list', enabled: false, options: {} }, { name: './mine.js', enabled: true, options: { a: true } }
  ])
  t.strictSame(plugins('plugins.rate-limit.burst=3', 'plugins.rate-limit.enabled=false')[0], { name: 'rate-limit', enabled: false, options: { burst: 3 } })
  t.match(mistakes({ folder, flags: { set: ['plugins=[1]'] } }), [/plugins must be a list of names/])
})

await t.test('suggestions', async t => {
  t.equal(editDistance('prot', 'port'), 1)
  t.equal(editDistance('', 'abc'), 3)
  t.equal(editDistance('kitten', 'sitting'), 3)
  t.equal(suggest('stauts', ['status', 'send']), 'status')
  t.equal(suggest('xyz', ['status', 'send']), undefined)
})
