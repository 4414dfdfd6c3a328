/** The keys of several servers that work as one. */
import { z } from 'zod'

const redisPattern = /^(rediss?|rediss?\+(sentinel|cluster)):\/\/\S+$|^$/
const label = (text: string) => z.string().max(64).regex(/^[A-Za-z0-9._-]*$/, 'must be of A-Z a-z 0-9 . _ -').default('').describe(text)
const address = z.string().max(255).regex(/^[\x21-\x7e]+$/, 'must be an address such as host:1883')
const ms = (fallback: number, min: number, text: string) => z.int().min(min).max(3_600_000).default(fallback).describe(text)

export const clusterSection = z.strictObject({
  redis: z.string().regex(redisPattern, 'must be redis://host:port, rediss:// with TLS, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port').default('').meta({ secret: true })
    .describe('Redis, through which servers that share the database of store.url work as one: redis://host:port, rediss:// with TLS, redis+sentinel://host:port,host:port/name, redis+cluster://host:port,host:port; may hold a password. Empty: this server is alone.'),
  namespace: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 . _ -').default('sabethes').describe('Begins the names of everything in Redis: clusters that share one Redis differ in it.'),
  name: label('What operators call this server; empty takes the name in the data folder.'),
  addresses: z.array(address).default([]).describe('Where clients reach this server: mqtt://host:port, wss://host/mqtt; said by GET /v1/entry, and to MQTT 5 clients that another server sends here.'),
  entry: z.array(address).default([]).describe('What GET /v1/entry names besides, and alone when no server says where clients reach it: addresses of load balancers, or of other regions.'),
  region: label('The region that this server is in: clients are sent to servers of their own first.'),
  room: label('The room that this server is in: servers of one room share a database and a Redis.'),
  heartbeatMs: ms(1000, 50, 'Time between two signs of life in Redis and to each other server, milliseconds.'),
  leaseMs: ms(5000, 200, 'Time without a sign of life after which a server counts as gone, milliseconds: its conversations are written by others.'),
  drainPerSecond: z.int().min(1).max(1_000_000).default(200).describe('Clients that a server sends to the others in a second before it stops; more when cluster.drainSeconds would not do.'),
  drainSeconds: z.int().min(1).max(3600).default(60).describe('Time for all of them, seconds; those that are left are closed by the stop.'),
  rebalancePerSecond: z.int().min(0).max(100_000).default(0).describe('Clients that a server with more sessions than its share sends to those with fewer in a second, as after a server has joined. 0: none, new connections alone even it out.'),
  requestTimeoutMs: ms(1000, 50, 'Time that one server waits for the answer of another one, milliseconds; it does the work itself then. Of work that is being done there it hears, and waits for it ten times as long.'),
  sharedLimits: z.boolean().default(true).describe('Servers tell each other what a user has spent of the limits of rates, and of failed sign-ins; false: each counts by itself.'),
  queueBytes: z.int().min(65_536).max(1_073_741_824).default(16_777_216).describe('Bytes for other servers that may wait for Redis; what is more is left out, and those servers read it from the database.'),
  lateMs: ms(60_000, 1000, 'How long what comes late or twice over Redis is known by what a session has had already, milliseconds.')
}).prefault({} as never).describe('Several servers that work as one; see docs/cluster.md.')
