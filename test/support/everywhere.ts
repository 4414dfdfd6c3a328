/** What every server of a cluster must tell alike. */
import type { Test } from 'tap'
import type { NodesInfo } from '../../broker/http/control-target.ts'
import { until } from './mailbox.ts'
import { patientDevice } from './mqtt.ts'
import { cli } from './server.ts'
import type { Server } from './server.ts'

/** Users who are asked for at the same time. */
const atOnce = 6

interface Listed { conv: string, seq: number, unread: number, readSeq: number }

/** `sabethes nodes` of one of the servers. */
export async function nodesOf ({ data }: Server): Promise<NodesInfo> {
  const { code, stdout, stderr } = await cli(['nodes', '--json', '--data', data])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as NodesInfo
}

/** Each user's list of conversations, with unread numbers and read marks, is the same at each server. Resolves to how many messages are unread in all. */
export async function sameLists (t: Test, servers: readonly Server[], users: readonly string[]): Promise<number> {
  let unread = 0
  const differ: string[] = []
  const look = async (user: string): Promise<void> => {
    const lists = await Promise.all(servers.map(async server => {
      const looking = await patientDevice(t, server.url, user, { clientId: `looks-${server.mqttPort}` })
      const { conversations } = await looking.result<{ conversations: Listed[] }>('conversations.list')
      await looking.end()
      return conversations.map(({ conv, seq, unread, readSeq }) => ({ conv, seq, unread, readSeq }))
    }))
    for (const { unread: count } of lists[0] ?? []) unread += count
    for (const [i, list] of lists.entries()) if (JSON.stringify(list) !== JSON.stringify(lists[0])) differ.push(`${user} at ${i + 1}: ${JSON.stringify(list)}, and not ${JSON.stringify(lists[0])}`)
  }
  for (let at = 0; at < users.length; at += atOnce) await Promise.all(users.slice(at, at + atOnce).map(look))
  t.same(differ.slice(0, 5), [], `${users.length} lists are the same at ${servers.length} servers`)
  return unread
}

/** Over all servers there are as many sessions as clients are connected: nobody has a second one anywhere. */
export async function oneSessionEach (t: Test, server: Server, clients: number): Promise<void> {
  let sessions = NaN
  const count = async (): Promise<boolean> => {
    sessions = (await nodesOf(server)).servers.reduce((sum, { connections }) => sum + connections, 0)
    return sessions === clients
  }
  await until(count, 60_000, `${clients} sessions`).catch((cause: Error) => { t.comment(cause.message) })
  t.equal(sessions, clients, 'one session per client id')
}
