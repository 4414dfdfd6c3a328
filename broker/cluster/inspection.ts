/** What `sabethes doctor` asks the Redis of a cluster. Nothing is changed. */
import { pino } from 'pino'
import type { Config } from '../config/schema.ts'
import { connectRedis, whenReady, type RedisClient } from './redis.ts'
import type { NodeInfo } from './view.ts'

export interface Finding { name: string, ok: boolean, text: string }

const timeoutMs = 5_000
/** Times of messages come from the clocks of the servers; more than this between two is noticed by people. */
const maxClockDifferenceMs = 5_000
const oldestVersion = [6, 2] as const

/** Findings in the order of the questions; what depends on one that is not ok may be left out. Texts hold no URL. */
export async function inspectCluster ({ redis: url, namespace, leaseMs }: Pick<Config['cluster'], 'redis' | 'namespace' | 'leaseMs'>): Promise<Finding[]> {
  let redis: RedisClient
  try {
    redis = connectRedis({ url, timeoutMs, log: pino({ level: 'silent' }) }, 'commands')
  } catch (error) {
    return [{ name: 'redis address', ok: false, text: `cluster.redis is no address of Redis: ${(error as Error).message}` }]
  }
  const findings: Finding[] = []
  const add = async (name: string, ask: () => Promise<{ ok: boolean, text: string }>): Promise<boolean> => {
    const finding = await ask().catch((error: unknown) => ({ ok: false, text: (error as Error).message }))
    findings.push({ name, ...finding })
    return finding.ok
  }
  try {
    await whenReady(redis, timeoutMs)
    if (!await add('redis reachable', async () => ({ ok: await redis.ping() === 'PONG', text: 'it answers' }))) return findings
    await add('redis version', async () => versionState(factOf(await redis.info('server'), 'redis_version')))
    await add('redis policy', async () => policyState(factOf(await redis.info('memory'), 'maxmemory_policy')))
    let nowMs = 0
    await add('redis clock', async () => {
      const before = Date.now()
      const [seconds, microseconds] = await redis.time()
      nowMs = Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000)
      const differenceMs = Math.round(nowMs - (before + Date.now()) / 2)
      return { ok: Math.abs(differenceMs) <= maxClockDifferenceMs, text: `${differenceMs} ms from this machine's` }
    })
    const nodes: NodeInfo[] = []
    await add('cluster servers', async () => {
      nodes.push(...liveOf(await redis.hgetall(`${namespace}:nodes`), nowMs - leaseMs))
      return { ok: true, text: nodes.length === 0 ? 'none runs' : nodes.map(({ name, draining }) => `${name}${draining ? ' (draining)' : ''}`).sort().join(', ') }
    })
    if (nodes.length > 0) findings.push(clockState(nodes), versionsState(nodes))
    return findings
  } finally {
    redis.disconnect()
  }
}

function factOf (info: string, name: string): string { return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '' }

/** Exported for its test, as the next ones are. */
export function versionState (version: string): { ok: boolean, text: string } {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const ok = major > oldestVersion[0] || (major === oldestVersion[0] && minor >= oldestVersion[1])
  return { ok, text: ok ? version : `${version}: ${oldestVersion.join('.')} or newer is needed` }
}

export function policyState (policy: string): { ok: boolean, text: string } {
  const ok = policy === 'noeviction'
  return { ok, text: ok ? policy : `maxmemory-policy is ${policy}: Redis may forget what servers know of each other; it has to be noeviction` }
}

export function clockState (nodes: readonly NodeInfo[]): Finding {
  const off = nodes.filter(({ offsetMs = 0 }) => Math.abs(offsetMs) > maxClockDifferenceMs)
  const most = Math.max(...nodes.map(({ offsetMs = 0 }) => Math.abs(offsetMs)))
  return { name: 'cluster clocks', ok: off.length === 0, text: off.length === 0 ? `at most ${most} ms from that of Redis` : off.map(({ name, offsetMs = 0 }) => `${name} is ${offsetMs} ms behind Redis`).join(', ') }
}

/** Servers of several versions work together while one after the other is replaced. */
export function versionsState (nodes: readonly NodeInfo[]): Finding {
  const versions = [...new Set(nodes.map(({ version }) => version))].sort()
  return { name: 'cluster versions', ok: true, text: versions.length === 1 ? versions[0] ?? '' : `${versions.join(' and ')}: an upgrade is under way` }
}

/** Rows of the registry with a sign of life since then. */
function liveOf (rows: Record<string, string>, since: number): NodeInfo[] {
  return Object.values(rows).flatMap(text => {
    const space = text.indexOf(' ')
    return Number(text.slice(0, space)) > since ? [JSON.parse(text.slice(space + 1)) as NodeInfo] : []
  })
}
