/** What an app asks when it opens: the conversation list and pages of history, one request after the other. */
import { Connection } from '../connection.ts'
import { Publisher } from '../load.ts'
import { Latencies, Meter } from '../meter.ts'
import { timedRequest } from '../peers/rpc.ts'
import { publishAll } from './backlog.ts'
import { generatorLimit, openMany, round, withoutPlain } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

const notThere = 'it has no conversations'
/** Messages in each conversation, none of them read. */
const messagesEach = 5
const listLimit = 50
/** The most that the server gives on a page of the list: most often the whole of it. */
const fullPage = 1000
const historyLimit = 50
const user = 'reader'

interface ListAnswer { conversations: Array<{ conv: string, unread: number, last?: { body: string } }>, unread: number, next?: string }
interface HistoryAnswer { head: number, messages: Array<{ seq: number }>, more: boolean, before?: number }

/** The conversations, the newest of which is long. */
async function write (port: number, settings: Settings): Promise<string | undefined> {
  const faults = await openMany(settings.conversations, async index => {
    const publisher = new Publisher(await Connection.open({ port, user: `writer${index}` }), {
      topics: [`im/to/u/${user}`], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window: 100
    })
    const fault = await publishAll(publisher, index === 0 ? settings.waiting : messagesEach)
    await publisher.connection.close()
    return fault
  }, 50)
  return faults.find(fault => fault !== undefined)
}

function expectedUnread (settings: Settings): number { return settings.waiting + (settings.conversations - 1) * messagesEach }

/** The whole list, page by page where it is more than one; answers its milliseconds. */
async function wholeList (connection: Connection, settings: Settings): Promise<number> {
  const seen = new Set<string>()
  let [total, unread, sum] = [0, 0, 0]
  let after: string | undefined
  do {
    const { result, ms } = await timedRequest(connection, 'conversations.list', { limit: fullPage, ...(after !== undefined && { after }) })
    const page = result as ListAnswer
    total += ms
    unread = page.unread
    for (const { conv, unread } of page.conversations) {
      seen.add(conv)
      sum += unread
    }
    after = page.next
  } while (after !== undefined)
  const expected = expectedUnread(settings)
  if (seen.size !== settings.conversations) throw new Error(`${seen.size} of ${settings.conversations} conversations in the list`)
  if (sum !== expected || unread !== expected) throw new Error(`unread ${unread} in all, ${sum} as a sum, not ${expected}`)
  return total
}

/** The numbers for the badges. */
async function unread (connection: Connection, settings: Settings): Promise<number> {
  const { result, ms } = await timedRequest(connection, 'unread', {})
  const { total, conversations } = result as { total: number, conversations: Record<string, number> }
  if (total !== expectedUnread(settings) || Object.keys(conversations).length !== settings.conversations) throw new Error(`unread: ${total} in ${Object.keys(conversations).length} conversations`)
  return ms
}

async function firstPage (connection: Connection, settings: Settings): Promise<number> {
  const { result, ms } = await timedRequest(connection, 'conversations.list', { limit: listLimit })
  const { conversations } = result as ListAnswer
  if (conversations.length !== Math.min(listLimit, settings.conversations) || conversations.some(one => one.last === undefined)) throw new Error('the first page of the list is not whole')
  return ms
}

/** Pages backwards through the long conversation, from the start again when it is through. */
function historyPages (settings: Settings): (connection: Connection) => Promise<number> {
  let before: number | undefined
  return async connection => {
    const { result, ms } = await timedRequest(connection, 'messages.history', { with: 'writer0', limit: historyLimit, ...(before !== undefined && { before }) })
    const { messages, more } = result as HistoryAnswer
    const last = before === undefined ? settings.waiting : before - 1
    const first = Math.max(1, last - historyLimit + 1)
    if (messages.length !== last - first + 1 || messages.some(({ seq }, index) => seq !== first + index)) throw new Error(`a page of history is not ${first} to ${last}`)
    if (more !== (first > 1)) throw new Error('history ends at the wrong place')
    before = first > 1 ? first : undefined
    return ms
  }
}

export const conversationList: Scenario = {
  name: 'conversation-list',
  headline: 'list_50_p50_ms',
  better: 'lower',
  reference: 'sabethes',
  without: withoutPlain(notThere),
  describe: s => `a user with ${s.conversations} conversations, ${messagesEach} unread messages in each (${s.waiting} in one), one request at a time: first ${listLimit} of the list, whole list by ${fullPage}, unread, history by ${historyLimit}; server.info is the sibling that reads nothing`,
  async run (_peer, running, settings) {
    const fault = await write(running.port, settings)
    if (fault !== undefined) return round({}, undefined, fault)
    const connection = await Connection.open({ port: running.port, user })
    const history = historyPages(settings)
    const jobs: Array<[string, () => Promise<number>]> = [
      ['list_50', () => firstPage(connection, settings)],
      ['list_all', () => wholeList(connection, settings)],
      ['unread', () => unread(connection, settings)],
      ['history_50', () => history(connection)],
      ['server_info', async () => (await timedRequest(connection, 'server.info', {})).ms]
    ]
    const metrics: Record<string, number> = {}
    const part = settings.seconds * 1000 / jobs.length
    const meter = new Meter(running.process, settings)
    try {
      for (const [name, job] of jobs) {
        await job()
        const latencies = new Latencies(1000)
        const end = performance.now() + part
        while (performance.now() < end) latencies.add(await job())
        const summary = latencies.summary(name)
        for (const metric of [`${name}_p50_ms`, `${name}_p99_ms`]) metrics[metric] = summary[metric] as number
        metrics[`${name}_requests`] = latencies.count
      }
    } finally {
      await connection.close()
    }
    const usage = meter.read()
    return round(metrics, usage, undefined, generatorLimit(usage))
  }
}
