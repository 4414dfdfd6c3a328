/** The same server on MongoDB beside the embedded store: rate, latency at a rate that both hold, and what batches and reads cost in round trips. */
import { databaseWords, sabethesMongodb } from '../peers/sabethes-mongodb.ts'
import { paced } from './paced.ts'
import { pairs } from './pairs.ts'
import { roundTrips } from './round-trips.ts'
import { round, withoutPlain } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

const inMemory = 'it keeps no message that was delivered'
const shown = ['puback_p50_ms', 'puback_p99_ms', 'delivery_p50_ms', 'delivery_p99_ms', 'send_late_p99_ms']

function places ({ brokerCpu, generatorCpu, databaseCpus }: Settings): string {
  if (brokerCpu === undefined) return 'nothing is bound to a core'
  const database = databaseCpus === String(generatorCpu) ? `generator and database share core ${generatorCpu}` : `generator on core ${generatorCpu}, database on ${databaseCpus}`
  return `broker on core ${brokerCpu}, ${database}`
}

export const mongodb: Scenario = {
  name: 'mongodb',
  headline: 'messages_per_s',
  better: 'higher',
  reference: 'sabethes',
  extra: [sabethesMongodb],
  without: withoutPlain(inMemory),
  describe: s => `${pairs.describe(s)}; latencies at ${s.mongodbRate} messages/s; sabethes keeps its store embedded, sabethes-mongodb in ${databaseWords()}; ${places(s)}`,
  async run (peer, running, settings) {
    const { database } = running
    const counted = await roundTrips(peer, running)
    const latency = await paced.run(peer, running, { ...settings, rate: settings.mongodbRate, sleeps: true })
    if (latency.fault !== undefined) return round({}, undefined, `at ${settings.mongodbRate}/s: ${latency.fault}`)
    const before = await database?.commands()
    const stored = await database?.messages() ?? 0
    const rate = await pairs.run(peer, running, settings)
    const metrics: Record<string, number> = {
      messages_per_s: rate.metrics['deliveries_per_s'] as number,
      messages_per_cpu_s: rate.metrics['deliveries_per_cpu_s'] as number
    }
    for (const name of shown) metrics[name] = latency.metrics[name] as number
    if (database !== undefined && before !== undefined) {
      const after = await database.commands()
      const messages = await database.messages() - stored
      metrics['load_commands_per_message'] = (after.reads + after.writes - before.reads - before.writes) / messages
      metrics['load_messages_per_insert'] = messages / (after.inserts - before.inserts)
      metrics['database_cores_paced'] = latency.usage?.databaseCpu ?? Number.NaN
      metrics['database_cores'] = rate.usage?.databaseCpu ?? Number.NaN
    }
    const limits = [latency.limit === undefined ? [] : `at ${settings.mongodbRate}/s: ${latency.limit}`, rate.limit ?? []].flat()
    return round({ ...metrics, ...counted }, rate.usage, rate.fault, limits.length > 0 ? limits.join('; ') : undefined)
  }
}
