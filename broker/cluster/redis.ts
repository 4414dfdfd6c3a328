/** Connections to Redis: one server, one found by Sentinels, or a Redis Cluster. */
import { Cluster, Command, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import type { Logger } from 'pino'

export interface RedisSetup {
  /** As `cluster.redis` of the configuration. */
  url: string
  /** Milliseconds after which a command that gets no answer fails. */
  timeoutMs: number
  /** Before the names of all keys of its commands, not before those of channels. */
  keyPrefix?: string
  log: Logger
}

export type RedisClient = Redis | Cluster

/** Milliseconds between tries to connect, at most. */
const mostDelayMs = 1_000

/**
 * Begins to connect, and goes on trying for ever: what is asked while there is no connection fails at once. The caller ends it with `disconnect`.
 * Throws `TypeError` when the URL is none.
 */
export function connectRedis ({ url, timeoutMs, keyPrefix = '', log }: RedisSetup, use: 'commands' | 'subscriber'): RedisClient {
  const client = made(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: Math.max(timeoutMs, 1_000),
    ...use === 'commands' ? { commandTimeout: timeoutMs } : {},
    autoResubscribe: true,
    keepAlive: 10_000,
    // A connection that was cut without a word is not waited for until the kernel gives it up: a new one is there as soon as the network is.
    socketTimeout: Math.max(3 * timeoutMs, 3_000),
    keyPrefix,
    retryStrategy: tries => Math.min(50 * tries, mostDelayMs)
  })
  let isAway = false
  client.on('error', (error: Error) => {
    // Said once for each time that it goes.
    if (!isAway) log.warn({ reason: error.message, use }, 'Redis does not answer: other servers hear of nothing until it is back')
    isAway = true
  })
  client.on('ready', () => {
    if (isAway) log.info({ use }, 'Redis is back')
    isAway = false
  })
  return client
}

/** Resolves when it is connected, or after `timeoutMs` when it is not: what is asked then fails at once. */
export async function whenReady (client: RedisClient, timeoutMs: number): Promise<void> {
  if (client.status !== 'ready') await becomesReady(client, timeoutMs)
  // Each node is connected with the first command for it, and what is asked while it is fails: not the first words to other servers.
  if (client instanceof Cluster && client.status === 'ready') await Promise.allSettled(client.nodes('master').map(node => node.ping()))
}

async function becomesReady (client: RedisClient, timeoutMs: number): Promise<void> {
  await new Promise<void>(resolve => {
    const timer = setTimeout(done, timeoutMs)
    function done (): void {
      clearTimeout(timer)
      client.off('ready', done)
      resolve()
    }
    client.on('ready', done)
  })
}

function made (url: string, options: RedisOptions & { enableOfflineQueue: boolean, keyPrefix: string }): RedisClient {
  const [, scheme = '', form, rest = ''] = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(.*)$/.exec(url) ?? []
  if (scheme === '') throw new TypeError('the address of Redis must begin with redis:// or rediss://')
  const tls = scheme === 'rediss' ? { tls: {} } : {}
  if (form === undefined) return new Redis(url, options)
  const at = rest.lastIndexOf('@')
  const [username, password] = at < 0 ? [] : rest.slice(0, at).split(':', 2).map(decodeURIComponent)
  const access = { ...username !== undefined && username !== '' && { username }, ...password !== undefined && { password } }
  const [hosts = '', name = 'mymaster'] = rest.slice(at + 1).split('/', 2)
  const servers = hosts.split(',').map(host => {
    const address = new URL(`redis://${host}`)
    return { host: address.hostname, port: Number(address.port || (form === 'sentinel' ? 26379 : 6379)) }
  })
  if (form === 'sentinel') return new Redis({ ...options, ...access, ...tls, sentinels: servers, name, sentinelRetryStrategy: tries => Math.min(50 * tries, mostDelayMs) })
  const { enableOfflineQueue, retryStrategy, maxRetriesPerRequest, keyPrefix, ...each } = options
  return new OrderedCluster(servers, { redisOptions: { ...each, ...access, ...tls }, enableOfflineQueue, keyPrefix, clusterRetryStrategy: tries => Math.min(50 * tries, mostDelayMs) })
}

/** All that is published on a channel goes to one node, as long as that is there: by way of several it would overtake itself in the cluster, and what is overtaken counts as lost. */
class OrderedCluster extends Cluster {
  override publish = ((channel: string, message: string | Buffer) => {
    let slot = 0
    for (let i = 0; i < channel.length; i++) slot = (31 * slot + channel.charCodeAt(i)) % slots
    return this.sendCommand(new Command('publish', [channel, message]), undefined, { slot } as never)
  }) as Cluster['publish']
}

/** Of a Redis Cluster. */
const slots = 16_384
