/** The end-to-end tests that run a second time with their servers on MongoDB, and which of all the tests with a full server do not. */

/** By the file in `test/mongodb` that runs them: each takes about as long as the others. */
export const onMongodbFiles = {
  chat: ['e2e/receipts', 'e2e/rpc', 'e2e/people', 'e2e/contacts', 'e2e/wills', 'protocol/conformance-3', 'protocol/wills', 'http/api-send'],
  sessions: ['e2e/graceful', 'e2e/resends'],
  keeping: ['e2e/tokens', 'faults/wills-restart'],
  faults: ['faults/e2e-kill9', 'faults/e2e-cuts', 'faults/e2e-feed-kill']
} as const satisfies Record<string, readonly string[]>

/**
 * With `SABETHES_TEST_ALL=1` these, too. Those that have servers for each of their many tests take a minute and more each, nearly all of it the database's; several are run by
 * `cluster/wrong-one` on MongoDB every time, what the others keep is in those above.
 */
export const moreOnMongodb: Record<keyof typeof onMongodbFiles, readonly string[]> = {
  chat: ['e2e/first-message', 'e2e/bot-worker', 'e2e/refusals', 'e2e/websocket', 'e2e/many-qos2', 'http/stream', 'http/stream-limits', 'http/poll'],
  sessions: ['e2e/sessions', 'e2e/mqtt5', 'protocol/shared-inbox-5'],
  keeping: ['e2e/leaks', 'e2e/logs', 'e2e/password', 'e2e/purge'],
  faults: ['e2e/group-large', 'e2e/stalled-reader']
}

/** What one file in `test/mongodb` runs. */
export function filesOf (name: keyof typeof onMongodbFiles): string[] {
  return [...onMongodbFiles[name], ...process.env.SABETHES_TEST_ALL === '1' ? moreOnMongodb[name] : []]
}

/** Not run on MongoDB, and why. */
export const levelOnly: Readonly<Record<string, string>> = {
  'clients/c': 'about what a client makes of packets, which no store sees',
  'clients/go': 'about what a client makes of packets, which no store sees',
  'clients/java': 'about what a client makes of packets, which no store sees',
  'clients/mosquitto': 'about what a client makes of packets, which no store sees',
  'clients/npm': 'about what a client makes of packets, which no store sees',
  'clients/python': 'about what a client makes of packets, which no store sees',
  'clients/rust': 'about what a client makes of packets, which no store sees',
  'e2e/browser': 'about a page that knows a server by its address',
  'e2e/examples': 'about programs that know a server by its address',
  'e2e/webhook': 'about what another program answers; the rows of accounts are in the contract suite and in e2e/password',
  'e2e/jwt': 'about tokens and connections; the rows of accounts are in the contract suite and in e2e/password',
  'e2e/bytes': 'about the memory of outgoing packets, which no store sees; a slower store only thins the traffic that shows a fault',
  'e2e/cli-bench': 'about the command `sabethes bench`, which knows a server by its address',
  'e2e/cli-absurd': 'about arguments, which are refused before a store is asked',
  'e2e/cli-verbs': 'about LevelDB\'s folder (backup, restore); every verb asks the store through one interface',
  'e2e/doctor': 'about LevelDB\'s folder; MongoDB has a test of its own in the same file',
  'e2e/leaks-5': 'about what is refused, which no store sees; the filters themselves are in e2e/leaks',
  'e2e/rate': 'about the speed at which a connection is read, which no store sees',
  'faults/e2e-full-disk': 'fills the disk below LevelDB',
  'faults/e2e-store-errors': 'makes the system calls of LevelDB fail',
  'faults/ordinary-exactly-once': 'keeps the same records as conformance-3, which runs there',
  'faults/level-damage': 'damages LevelDB\'s tables',
  'faults/level-permissions': 'about the files of LevelDB\'s folder',
  'faults/e2e-sync': 'reads from strace that LevelDB\'s log is on the disk before the PUBACK; with MongoDB that is the database\'s promise (write concern majority, journaled)',
  'faults/e2e-torn-tail': 'damages LevelDB\'s log',
  'e2e/sys': 'about numbers of the gateway, which no store sees',
  'e2e/tls': 'about what is between client and gateway, which no store sees',
  'e2e/too-large': 'about what is refused before anything is stored',
  'e2e/hostile-sockets': 'about sockets and descriptors, which a database elsewhere does not share',
  'e2e/keepalive': 'keeps one record, which the contract suite is about',
  'e2e/operator': 'about LevelDB\'s folder and what commands load',
  'e2e/plugin-faults': 'about plugins and the process, which no store sees',
  'e2e/feed': 'about the command `sabethes feed`; the feed itself is in the contract suite and in faults/e2e-feed-kill',
  'e2e/engine-thread': 'about the thread, whatever the store in it',
  'e2e/one-core': 'about collections of garbage, which no store sees',
  'http/api-twins': 'about how requests and answers are written; the requests themselves are in e2e/rpc',
  'http/api-sign-in': 'the rows of accounts are in the contract suite and in e2e/password',
  'http/api-openapi': 'about what a page says',
  'http/api-document': 'about what a page says',
  'http/api-asyncapi': 'about what a page says',
  'http/metrics': 'about what the server counts; the rows are in the contract suite',
  'http/schemathesis': 'about the form of answers; the requests themselves are in e2e/rpc',
  'http/entry': 'about addresses, which no store sees',
  'http/host-rule': 'about names in requests, which are refused before a store is asked',
  'protocol/conformance-5': 'keeps the same records as conformance-3',
  'protocol/open-topic-rules': 'about permissions, which no store sees',
  'protocol/retained': 'keeps the same records as conformance-3',
  'protocol/owed-messages': 'keeps the same records as conformance-3',
  'protocol/user-properties-5': 'keeps the same records as conformance-3',
  'protocol/response-5': 'about requests that nothing is stored of',
  'protocol/no-local-5': 'about delivery; the option is kept in the row of the session, as identifiers are',
  'protocol/auth-5': 'the rows of accounts are in the contract suite and in e2e/password',
  'protocol/compact': 'about how what is delivered is written, whatever the store; that a subscription is kept is in protocol/subscriptions-5',
  'protocol/chat-again': 'keeps the same records as e2e/sessions',
  'protocol/aliases-5': 'about topics of one connection, of which nothing is stored',
  'protocol/corners-5': 'keeps the same records as conformance-3',
  'protocol/histories-5': 'keeps the same records as conformance-3 and, in chat, as e2e/sessions',
  'protocol/flow-5': 'about the window of a connection; what waits is kept as in conformance-3',
  'protocol/resumed-5': 'keeps the same records as conformance-3',
  'protocol/shared-5': 'keeps the same records as conformance-3',
  'protocol/subscriptions-5': 'keeps the same records as conformance-3',
  'protocol/clauses-5': 'keeps the same records as conformance-3',
  'protocol/clauses-messages': 'keeps the same records as conformance-3',
  'protocol/clauses-sessions': 'keeps the same records as conformance-3',
  'protocol/clauses-subscribing': 'keeps the same records as conformance-3',
  'protocol/clauses-bytes': 'bytes that are refused before anything is stored',
  'protocol/clauses-websocket': 'about frames, which no store sees',
  'protocol/bad-input': 'bytes that are refused before anything is stored'
}

/** With the configuration of MongoDB in themselves. */
export const ownDatabase = ['faults/mongodb-load-kill', 'faults/mongodb-two-servers', 'faults/mongodb-two-servers-sessions', 'faults/mongodb-two-servers-wills']
