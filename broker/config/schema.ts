/** The one description of the configuration: types, defaults, ranges and texts. Everything else is derived from it. */
import { z } from 'zod'
import { idPattern } from '../topics.ts'
import { authSection } from './auth.ts'
import { clusterSection } from './cluster.ts'
import { listenersKey } from './listeners.ts'
import { openTopic } from './open-topic.ts'

/** setTimeout's largest delay, milliseconds. */
const maxTimerMs = 2_147_483_647
/** MQTT 5's "never expires" (section 3.1.2.11.2), seconds. */
const maxExpirySeconds = 4_294_967_295

const count = (fallback: number, text: string, min = 1) => z.int().min(min).default(fallback).describe(text)
const timer = (fallback: number, text: string, min = 1) => z.int().min(min).max(maxTimerMs).default(fallback).describe(text)
const advised = (fallback: number, text: string) => z.int().min(10).max(65_535).default(fallback).describe(text)
const port = (fallback: number, text: string) => z.int().min(0).max(65_535).default(fallback).describe(text)
const host = (text: string) => z.string().min(1).default('127.0.0.1').describe(text)
const section = <Shape extends z.ZodRawShape> (text: string, shape: Shape) => z.strictObject(shape).prefault({} as never).describe(text)

/** A plugin of the configuration, in the order of the file. `options` are what its own schema validates. */
export interface PluginEntry { name: string, enabled: boolean, options: Record<string, unknown> }

/** The plugins that ship with the server; on unless the configuration says otherwise. */
export const builtInPlugins = ['rate-limit', 'block-list'] as const

const pluginRecord = z.record(z.string(), z.looseObject({ enabled: z.boolean().optional() }).nullable())

function isOrigin (text: string): boolean {
  return text === '*' || (URL.canParse(text) && new URL(text).origin === text)
}

function isHostName (text: string): boolean {
  return text === '*' || /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)$/i.test(text)
}

export const configSchema = z.strictObject({
  mqtt: section('MQTT: listeners, topics and limits.', {
    tcp: section('Plain MQTT over TCP.', {
      host: host('Address to listen on for MQTT over TCP.'),
      port: port(1883, 'Port for MQTT over TCP; 0 takes any free one.')
    }),
    ws: section('MQTT over WebSocket, on the HTTP port.', {
      path: z.string().regex(/^\/[^?#\s]*$/, 'must be a path such as /mqtt').default('/mqtt').describe('Path of MQTT over WebSocket on the HTTP port.'),
      origins: z.array(z.string().refine(isOrigin, 'must be an origin such as https://chat.example.com, or *')).default([])
        .describe('Web origins whose pages may connect by WebSocket; empty allows only pages from the same host. Clients that send no Origin (programs) are always let through.'),
      frameBytes: z.int().min(1024).max(268_435_455).default(1_048_576).describe('Largest WebSocket frame, bytes: it is put together in memory, and may hold many packets or a part of one.')
    }),
    prefix: z.string().regex(idPattern, 'must be 1 to 64 of A-Z a-z 0-9 . _ -').default('im').describe('First level of the chat topics.'),
    openTopics: z.array(openTopic).default([])
      .describe('Topic filters outside the prefix that are ordinary MQTT; everything else is refused. Instead of a filter, which is for every user, {filter, read, write}: each everybody, nobody or a list of user names. {user} and {clientId} in a filter stand for those of the connection.'),
    keepAlive: section('The keep alive that clients are advised to ask for, on im/server; each client decides for itself. Never more than mqtt.limits.keepAliveMaxSeconds; what was said by `sabethes keepalive` goes before it.', {
      wifiSeconds: advised(120, 'On Wi-Fi and cables, seconds: a ping costs nothing there, and a connection that broke is noticed soon.'),
      cellularSeconds: advised(230, 'On mobile networks, seconds: each ping wakes the radio, so as long as gateways and load balancers keep a quiet connection; the shortest common default is 4 minutes.'),
      natSeconds: advised(55, 'Behind a gateway or proxy that ends quiet connections early, seconds: many web proxies do after 60. What a client goes back to when its connection breaks again and again.')
    }),
    elsewhere: section('Another server, of which MQTT 5 clients are told (Server Reference).', {
      address: z.string().max(1024).regex(/^[\x21-\x7e]+( [\x21-\x7e]+)*$|^$/, 'must be addresses such as host:1883, a space between them').default('').describe('Its address, host or host:port, or several with a space between them: said to those that are connected when the server stops. Empty tells of none.'),
      permanent: z.boolean().default(true).describe('true: clients should use it from now on (reason 0x9D); false: for now (0x9C).'),
      redirect: z.boolean().default(false).describe('Sends everybody there who connects, before any password is looked at; clients before MQTT 5 are told that the server is unavailable.')
    }),
    sys: section('Numbers of the server on $SYS/#, for those who run it.', {
      readers: z.array(z.string().refine(name => name === '*' || idPattern.test(name), 'must be a user name, or *')).default([])
        .describe('Users who may read $SYS/#; * is everybody. While it is empty: everybody in dev mode on loopback, otherwise nobody.'),
      intervalSeconds: z.int().min(0).max(86_400).default(10).describe('Time between two looks at the numbers, seconds; those that changed are sent. 0: nobody may read them.')
    }),
    limits: section('Limits of connections; what exceeds them is refused or cut off.', {
      packetBytes: z.int().min(1024).max(268_435_455).default(262_144).describe('Largest packet, bytes. A larger PUBLISH of a client before MQTT 5 is refused without being kept; any other closes the connection.'),
      connectBytes: z.int().min(128).max(268_435_455).default(16_384).describe('Largest CONNECT packet, bytes.'),
      connectTimeoutMs: timer(5000, 'Time from a new connection to its CONNACK, milliseconds; a store that does not answer counts. Also for a re-authentication (MQTT 5).'),
      keepAliveMaxSeconds: z.int().min(1).max(65_535).default(1800).describe('Longest keep alive, seconds: an MQTT 5 client that asks for more, or for none, is told this one; 3.1.1 clients keep theirs.'),
      connections: count(100_000, 'Connections in all, those of HTTP and those that have not signed in included; not more than the system has descriptors for. When all are taken, the oldest that has not signed in gives way.'),
      connectionsPerAddress: count(20_000, 'Connections from one address, counted the same way.'),
      descriptorReserve: count(256, 'File descriptors that connections leave for the store and for files; half of what the system allows at most.'),
      connectionsPerUser: count(100, 'Connections of one user.'),
      takeoversPerSecond: count(10, 'Times in a second that a session may be taken over by another connection of the same client id; more are refused, after a second.'),
      subscriptionsPerSession: count(100, 'Subscriptions of one session.'),
      inflight: z.int().min(1).max(65_535).default(64).describe('Messages sent to a session and not yet acknowledged.'),
      shareMembers: count(100, 'Connected sessions of one shared subscription to chat topics.'),
      shareInflight: z.int().min(1).max(65_535).default(1024).describe('Messages of one shared subscription to chat topics from the oldest that is not acknowledged on; after a crash they may come again.'),
      shareHoldTimeoutMs: timer(300_000, 'Time after which a session that holds the oldest message of a shared subscription to chat topics, and acknowledges nothing, is cut off when others wait for it (mqtt.limits.shareInflight), milliseconds; others get what it held.'),
      recentBytes: count(16_777_216, 'Bytes of messages, of all conversations, that are kept in memory for sessions that are a little behind; others read them from the store.', 0),
      pendingPublishes: count(1024, 'Publishes of one connection that wait for their commit; reading pauses above it. The Receive Maximum of MQTT 5 clients.'),
      pendingBytes: count(4_194_304, 'Bytes of publishes of one connection that wait for their commit; reading pauses above it.'),
      queuedPublishes: count(1024, 'Publishes of all connections that wait for their commit; above it those that sent more than one are read in turn, by user.'),
      pendingRequests: count(4, 'Requests of one connection that are served at the same time; reading pauses above it.'),
      answerBytesPerUser: count(8_388_608, 'Bytes of answers to requests of one user that are being made (640 kB each) or were not taken by the client; the next requests wait.'),
      answerBytes: count(67_108_864, 'The same of all users together.'),
      pendingQos2: z.int().min(1).max(65_535).default(65_535).describe('Unfinished inbound QoS 2 messages of one connection; above it they are refused. Of each only its packet id is kept.'),
      opening: count(0, 'Sessions that are opened at the same time, and pages of conversations looked for; others wait in the order of their coming. 0 is 16 with the embedded store and 64 with MongoDB, where each takes longer.', 0),
      packetsPerSecond: count(0, 'Packets a connection may send in a second; 0 is no limit.', 0),
      bytesPerSecond: count(0, 'Bytes a connection may send in a second; 0 is no limit.', 0),
      topicBytes: z.int().min(1).max(65_535).default(1024).describe('Longest topic or topic filter, bytes.'),
      topicLevels: count(32, 'Most levels of a topic or topic filter.'),
      topicAliases: z.int().min(0).max(65_535).default(32).describe('Topic aliases (MQTT 5) of one connection, each way; 0 = none.'),
      clientIdBytes: z.int().min(1).max(65_535).default(128).describe('Longest client id, bytes.'),
      outputBytes: count(1_048_576, 'Unsent bytes of one connection above which it counts as stalled.'),
      stallTimeoutMs: timer(30_000, 'Time after which a stalled connection is cut off, milliseconds; what it missed waits for it.'),
      delayedWillsPerUser: count(100, 'Wills of one user that wait for their delay (MQTT 5); more are published at once.', 0),
      delayedWillBytes: count(16_777_216, 'Bytes of all wills that wait for their delay; beyond it they are published at once.', 0),
      offlineQueue: count(1000, 'Ordinary-topic messages kept for one session that is offline, on disk and in order (chat messages need no queue); the oldest go first.', 0),
      offlineQueueBytes: count(16_777_216, 'Bytes of the ordinary-topic messages kept for one session; the oldest go first, the newest stays.', 0),
      offlineBytes: count(268_435_456, 'Bytes of the ordinary-topic messages kept for all sessions, those kept for several counted once; beyond it those that hold most lose their oldest.', 0),
      retained: count(100_000, 'Retained messages of ordinary topics; each takes about 300 bytes of memory, its payload is on disk. What is above is refused (MQTT 5: 0x97).', 0),
      retainedBytes: count(67_108_864, 'Bytes of the topics and payloads of all retained messages of ordinary topics, on disk. What is above is refused (MQTT 5: 0x97).', 0)
    })
  }),
  http: section('HTTP: health pages, the API for users, and WebSocket at mqtt.ws.path.', {
    host: host('Address to listen on for HTTP and WebSocket.'),
    port: port(8080, 'Port for HTTP and WebSocket; 0 takes any free one.'),
    hosts: z.array(z.string().refine(isHostName, 'must be a host name without a port, or *')).default([])
      .describe('Names by which requests may call the server (their Host header), besides localhost and http.host; for a proxy that passes the name on. On loopback other names are refused, because a web page can have its own name lead there; elsewhere any name is right while this is empty, and any IP address always. * allows any.'),
    headersTimeoutMs: timer(5000, 'Time for the headers of a request, from the connection or the answer before, milliseconds.'),
    requestTimeoutMs: timer(10_000, 'Time for a whole request, and longest time in which a connection neither sends nor takes anything, milliseconds.'),
    keepAliveTimeoutMs: timer(5000, 'Time that a connection is kept after an answer, milliseconds.'),
    requestsPerSecond: count(100, 'Requests of one address in a second; upgrades to WebSocket do not count, nor requests of users who signed in lately (http.signInSeconds), who are held to the limits of users. More are answered 429.'),
    pipelinedRequests: count(16, 'Requests that a connection may send in one piece; more end it.'),
    api: z.boolean().default(true).describe('Serves the API for users, /v1/… (docs/http.md).'),
    cors: z.array(z.string().refine(isOrigin, 'must be an origin such as https://chat.example.com, or *')).default([])
      .describe('Web origins whose pages may use the API, beside those of the same host; * is any. Browsers are never told to send credentials of their own.'),
    signInSeconds: z.int().min(1).max(3600).default(30).describe('How long a sign-in to the API is remembered, seconds, for requests with the same credentials from the same address; a change of the account ends it at once.'),
    concurrency: count(512, 'Requests to the API that are served at the same time; more are refused as unavailable.'),
    concurrencyPerUser: count(16, 'Requests of one user to the API that are served at the same time; more are refused as rate_limited.'),
    stream: section('Those who listen over HTTP: GET /v1/stream and GET /v1/poll (docs/http.md).', {
      most: count(10_000, 'Streams and polls that are open at the same time; more are refused as unavailable.', 0),
      perUser: count(16, 'Streams and polls of one user that are open at the same time; more are refused as rate_limited.'),
      heartbeatMs: timer(15_000, 'Time after which a stream on which nothing was sent gets a comment, milliseconds: it keeps connections open that others would close, and finds those that are broken.'),
      stallTimeoutMs: timer(30_000, 'Time after which a stream is ended whose client takes nothing of what was sent, milliseconds; it goes on where it was.'),
      retryMs: timer(2000, 'Time after which clients are told to come back when their stream has ended, milliseconds, and up to as long again.'),
      pollMs: timer(60_000, 'Longest time that a poll may wait, milliseconds.')
    }),
    readyForMs: timer(1000, 'Time for which one look at the store answers /readyz for everybody, milliseconds.', 0)
  }),
  metrics: section('What the server measures of itself, at /metrics of the HTTP port, for Prometheus.', {
    enabled: z.boolean().default(true).describe('Serves /metrics (docs/metrics.md).'),
    token: z.string().regex(/^[\x21-\x7e]*$/, 'must be printable ASCII without spaces').default('').meta({ secret: true }).describe('What readers have to show as their bearer token; empty: only this machine reads, and not through a proxy.')
  }),
  listeners: listenersKey,
  auth: authSection,
  store: section('Where data is kept.', {
    driver: z.enum(['level', 'mongodb']).default('level').describe('The storage engine: level is embedded and needs nothing else; mongodb keeps everything in the database at store.url.'),
    path: z.string().min(1).default('./data').describe('Data folder, relative to the working folder; with mongodb only the control socket, server.json (where the server listens) and node (its name among servers that share the database) are in it.'),
    url: z.string().default('').meta({ secret: true }).describe('Address of MongoDB, mongodb://… or mongodb+srv://…, for the driver mongodb; may hold a password.'),
    database: z.string().regex(/^[^/\\. "$*<>:|?\0]{0,63}$/, 'must be a name of a MongoDB database').default('').describe('Database in MongoDB; empty takes the one that store.url names, or sabethes.'),
    timeoutMs: timer(5000, 'Time after which MongoDB counts as gone, milliseconds: what waits for it fails, and is acknowledged to nobody.', 100),
    cacheConversations: count(100_000, 'Conversations whose heads are kept in memory.'),
    resendWindowSeconds: count(86_400, 'How long a message without cid that is sent again with DUP can be the same one, seconds.')
  }),
  cluster: clusterSection,
  engine: section('The engine: what decides and remembers.', {
    thread: z.boolean().default(false).describe('Runs engine and store in a thread of their own, beside the one that has the sockets; for machines with two cores and more.')
  }),
  sessions: section('Persistent sessions.', {
    expirySeconds: z.int().min(0).max(maxExpirySeconds).default(2_592_000).describe('How long a session of an MQTT 3.1.1 client with clean session 0 outlives its connection, seconds.'),
    maxExpirySeconds: z.int().min(0).max(maxExpirySeconds).default(7_776_000).describe('Longest session expiry an MQTT 5 client may ask for, seconds; 4294967295 is for ever.'),
    maxPerUser: count(100, 'Persistent sessions of one user.'),
    maxSharesPerUser: count(16, 'Shared subscriptions of one user to chat topics ($share/name/im/...), counted apart. One more ends the one that has been without a connected session for longest; it is refused when there is none.'),
    shareExpirySeconds: z.int().min(0).max(maxExpirySeconds).default(2_592_000).describe('How long a shared subscription to chat topics keeps what waits after the connection of its last session has ended, seconds; at most sessions.maxExpirySeconds. 0: it ends with it.'),
    unstoredEnds: count(100_000, 'Ends of sessions that the store did not take, kept for another try; above it the oldest count from a little later.')
  }),
  messages: section('Messages.', {
    maxBytes: count(65_536, 'Largest payload of a message, bytes.'),
    retentionSeconds: count(0, 'Messages older than this are purged, seconds; 0 keeps them for ever.', 0),
    maxClockBackSeconds: count(86_400, 'When the clock is set back by up to this, times of messages go slower until it has caught up; when by more, it is believed, and they go back once, seconds.', 0),
    receiptIntervalMs: timer(1000, 'How long receipt marks are merged before they are written, and again receipts before they are sent, milliseconds: a receipt comes up to twice this late.', 0)
  }),
  feed: section('The feed: what was committed, for readers that must miss nothing.', {
    maxReaders: count(16, 'Readers of the feed.'),
    batch: z.int().min(1).max(10_000).default(256).describe('Entries that a reader is given at once.'),
    batchBytes: count(1_048_576, 'Bytes of messages that a reader is given at once; one message is always given.'),
    keepSeconds: count(2_592_000, 'How long the feed waits for a reader that does not come, seconds: what is older leaves it, and the reader is told how much; 0 waits for ever. Messages go by messages.retentionSeconds, read or not.', 0)
  }),
  groups: section('Groups.', {
    maxMembers: count(100_000, 'Members of one group.'),
    maxPerUser: count(1000, 'Groups that one user owns.'),
    maxMemberships: count(10_000, 'Groups that one user is in.'),
    consent: z.enum(['auto', 'everybody', 'known', 'nobody']).default('auto').describe('Who may put a user into a group who has not said it (groups.consent): everybody, those whom the user has sent a message (known; others invite), or nobody; auto is everybody in dev mode and known otherwise. Block lists hold always.'),
    maxInvitationsMade: count(1000, 'Open invitations to groups that one user has made.', 0),
    maxInvitations: count(100, 'Open invitations to groups that wait for one user.', 0)
  }),
  people: section('What people say of themselves (people.set).', {
    maxFields: count(32, 'Fields of one profile.', 0),
    maxFieldBytes: count(4096, 'Bytes of the fields of one profile, as JSON.', 2),
    findable: z.enum(['prefix', 'exact', 'nobody']).default('exact').describe('Who finds a user who has not said it: who gives the beginning of the id or nickname (prefix), the whole of it (exact), or nobody. Of those who have no profile the whole id counts alone.'),
    visible: z.enum(['everybody', 'contacts', 'nobody']).default('contacts').describe('Who sees language, time zone and fields of a user who has not said it; nickname and avatar are for everybody.')
  }),
  contacts: section('Contacts.', {
    max: count(2000, 'Contacts of one user.', 0),
    maxRequests: count(100, 'Open requests to be a contact that wait for one user.', 0),
    maxRequestsMade: count(200, 'Open requests to be a contact that one user has made.', 0),
    mode: z.enum(['everybody', 'contacts', 'nobody']).default('everybody').describe('Who may write to a user who has not said it (contacts.mode), and put the user into groups: everybody, contacts, or nobody: contacts alone, and nobody may ask to be one. Block lists hold always.')
  }),
  requests: section('Requests (im/rpc/…) and read marks.', {
    perSecond: count(100, 'Requests and read marks of one user in a second, after a burst; more are refused as rate_limited.'),
    burst: count(500, 'Requests and read marks that a user may send at once.'),
    heavyPerSecond: count(10, 'Of these, requests that read or change much (topics.md marks them as large), in a second. 100 members named, or 5,000 conversations read, count as one more.'),
    heavyBurst: count(150, 'Such requests that a user may send at once.'),
    concurrency: count(16, 'Requests that are served at the same time.'),
    concurrencyPerUser: count(4, 'Requests of one user that are served at the same time; of messages.history and of those that read or change much, one.')
  }),
  blocks: section('Block lists.', {
    max: count(10_000, 'Users on one block list.', 0)
  }),
  plugins: z.union([z.array(z.string().min(1)), pluginRecord], 'must be a list of names, or names with their options')
    .default(Object.fromEntries(builtInPlugins.map(name => [name, { enabled: true }])))
    .transform(pluginEntries)
    .describe('Plugins: built-in names or paths of modules. Names with options are added to the built-in ones (enabled: false switches one off); a list names exactly those that run.'),
  pluginLimits: section('What all plugins are held to.', {
    startTimeoutMs: timer(30_000, 'Time for loading a plugin, and for its start, milliseconds; the server does not start without it.'),
    closeTimeoutMs: timer(2000, 'Time for the close of a plugin when the server stops, milliseconds.'),
    listenerPending: count(1000, 'Promises of one plugin\'s onStored that may be open; it does not hear of messages above it.')
  }),
  log: section('Logs, on standard error.', {
    level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info').describe('Least severe level that is logged.'),
    pretty: z.union([z.boolean(), z.literal('auto')]).default('auto').describe('Logs for people instead of JSON lines; auto when standard error is a terminal.'),
    linesPerSecond: count(20, 'Lines of one kind (text and code) in a second, levels info to error; the number of those left out is told. 0 writes all.', 0),
    bufferBytes: z.int().min(4096).default(1_048_576).describe('Log lines kept for a reader that stalls, bytes; above it lines are dropped and counted.')
  }),
  shutdown: section('Stopping.', {
    timeoutMs: timer(8000, 'Time a graceful stop may take before it is forced, milliseconds.')
  })
})

/** The effective configuration: every key is present. */
export type Config = z.output<typeof configSchema>

function pluginEntries (value: string[] | z.output<typeof pluginRecord>): PluginEntry[] {
  if (Array.isArray(value)) return [...new Set(value)].map(name => ({ name, enabled: true, options: {} }))
  const entries = new Map<string, PluginEntry>(builtInPlugins.map(name => [name, { name, enabled: true, options: {} }]))
  for (const [name, given] of Object.entries(value)) {
    const { enabled = true, ...options } = given ?? {}
    entries.set(name, { name, enabled, options })
  }
  return [...entries.values()]
}

/** The configuration's defaults. */
export function defaultConfig (): Config { return configSchema.parse({}) }

/** JSON Schema (2020-12) of the configuration file, for editors. */
export function configJsonSchema (): Record<string, unknown> {
  return { ...z.toJSONSchema(configSchema, { io: 'input' }), title: 'sabethes.yaml' }
}
