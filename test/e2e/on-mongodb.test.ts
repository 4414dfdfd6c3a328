/** The core's end-to-end tests on MongoDB, and which of all the tests with a full server are not among them. */
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { onMongodb } from '../support/on-mongodb.ts'

const here = [
  'e2e/first-message', 'e2e/graceful', 'e2e/leaks', 'e2e/logs', 'e2e/many-qos2', 'e2e/mqtt5', 'e2e/password', 'e2e/purge',
  'e2e/receipts', 'e2e/refusals', 'e2e/resends', 'e2e/rpc', 'e2e/sessions', 'e2e/websocket', 'e2e/wills', 'protocol/conformance-3'
]

/** Run beside these, by `faults/e2e-on-mongodb`: what takes long. */
const besides = ['e2e/group-large', 'faults/e2e-feed-kill', 'e2e/stalled-reader', 'faults/e2e-cuts', 'faults/e2e-kill9']

/** Not run on MongoDB, and why. */
const levelOnly: Readonly<Record<string, string>> = {
  'e2e/bytes': 'about the memory of outgoing packets, which no store sees; a slower store only thins the traffic that shows a fault',
  'e2e/cli-bench': 'about the command `sabethes bench`, which knows a server by its address',
  'e2e/cli-absurd': 'about arguments, which are refused before a store is asked',
  'e2e/cli-verbs': 'about LevelDB\'s folder (backup, restore); every verb asks the store through one interface',
  'e2e/doctor': 'about LevelDB\'s folder; MongoDB has a test of its own in the same file',
  'e2e/rate': 'about the speed at which a connection is read, which no store sees',
  'faults/e2e-full-disk': 'fills the disk below LevelDB',
  'faults/e2e-store-errors': 'makes the system calls of LevelDB fail',
  'faults/level-damage': 'damages LevelDB\'s tables',
  'faults/level-permissions': 'about the files of LevelDB\'s folder',
  'faults/e2e-sync': 'reads from strace that LevelDB\'s log is on the disk before the PUBACK; with MongoDB that is the database\'s promise (write concern majority, journaled)',
  'faults/e2e-torn-tail': 'damages LevelDB\'s log',
  'e2e/too-large': 'about what is refused before anything is stored',
  'e2e/hostile-sockets': 'about sockets and descriptors, which a database elsewhere does not share',
  'e2e/operator': 'about LevelDB\'s folder and what commands load',
  'e2e/plugin-faults': 'about plugins and the process, which no store sees',
  'e2e/feed': 'about the command `sabethes feed`; the feed itself is in the contract suite and in faults/e2e-feed-kill',
  'e2e/engine-thread': 'about the thread, whatever the store in it',
  'e2e/one-core': 'about collections of garbage, which no store sees',
  'http/host-rule': 'about names in requests, which are refused before a store is asked',
  'protocol/conformance-5': 'keeps the same records as conformance-3',
  'protocol/bad-input': 'bytes that are refused before anything is stored'
}

/** With the configuration of MongoDB in themselves. */
const ownDatabase = ['faults/mongodb-load-kill', 'faults/mongodb-two-servers']

await t.test('every test with a full server is in one of the lists', async t => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.js') && /\bstart(Server|Ordinary)\(t[,)]/.test(readFileSync(`${root}${name}`, 'utf8')))
    .map(name => name.slice(0, -'.test.js'.length))
  t.same(found.sort(), [...here, ...besides, ...Object.keys(levelOnly), ...ownDatabase].sort())
})

await onMongodb(t, here)
