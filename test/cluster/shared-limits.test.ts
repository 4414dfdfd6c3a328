/** Two servers that count limits together: a user with a connection at each, and somebody who guesses at both. */
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import type { Cluster } from '../support/cluster.ts'
import { until } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli } from '../support/server.ts'

t.setTimeout(240_000)
const [perSecond, burst, seconds] = [20, 40, 8]

/** Messages that get through, of three times the rate at each server. */
async function flood (t: Test, { servers }: Cluster): Promise<number> {
  const clients = await Promise.all(servers.map(async ({ mqttPort }, i) => (await RawClient.connect(t, mqttPort, { user: 'eve', clientId: `phone${i}`, version: 5 })).client))
  const began = performance.now()
  let sent = 0
  for (let passed = 0; passed < seconds; passed = (performance.now() - began) / 1000) {
    for (; sent < passed * 3 * perSecond; sent++) for (const client of clients) client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x', qos: 1, dup: false, retain: false, messageId: client.nextId() })
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  const acks = await Promise.all(clients.map(async client => {
    let through = 0
    for (let i = 0; i < sent; i++) if (((await client.packets.take(({ cmd }) => cmd === 'puback', 60_000, 'an answer')) as { reasonCode?: number }).reasonCode === 0) through++
    return through
  }))
  return acks.reduce((sum, count) => sum + count, 0)
}

/** Two servers that know each other. */
async function two (t: Test, config: Record<string, unknown>): Promise<Cluster | undefined> {
  const cluster = await startCluster(t, 2, { config })
  if (cluster === undefined) return undefined
  await until(async () => (JSON.parse((await cli(['nodes', '--json', '--data', cluster.servers[0]?.data ?? ''])).stdout) as { servers: unknown[] }).servers.length === 2, 20_000, 'both servers')
  return cluster
}

for (const shared of [true, false]) {
  await t.test(shared ? 'messages: the rate holds over both servers' : 'cluster.sharedLimits false: each counts by itself', async t => {
    const cluster = await two(t, { cluster: { sharedLimits: shared }, plugins: { 'rate-limit': { messagesPerSecond: perSecond, burst, maxDelayMs: 0 } } })
    if (cluster === undefined) return
    const through = await flood(t, cluster)
    const most = 2 * burst + perSecond * seconds * 1.25 + burst / 4
    if (shared) t.ok(through <= most, `${through} messages in ${seconds} s, at most ${most}`)
    else t.ok(through > most, `${through} messages`)
    t.ok(through >= burst + perSecond * seconds * 0.7, 'and the rate is there')
  })
}

await t.test('a guesser who goes from one server to the other has no more tries, and who signs in is known at both', async t => {
  const cluster = await two(t, { auth: { mode: 'password', failureLimit: 4 } })
  const [one, other] = cluster?.servers ?? []
  if (one === undefined || other === undefined) return
  const user = ['user', 'add', 'alice', '--data', one.data, '--config', one.configPath]
  t.equal((await cli(user, { input: 'correct horse\n' })).code, 0)
  const code = async (port: number, password: string): Promise<number | undefined> => (await RawClient.connect(t, port, { user: 'alice', password, version: 5 })).connack.reasonCode
  for (let i = 0; i < 5; i++) t.equal(await code((i % 2 === 0 ? one : other).mqttPort, `guess ${i}`), 0x87)
  const answers: Array<number | undefined> = []
  await until(async () => {
    answers.push(await code(other.mqttPort, 'correct horse'))
    return answers.includes(0)
  }, 30_000, 'the end of the wait')
  t.equal(answers[0], 0x97, 'the fifth one was at the first server: the second one makes wait as well')
})
