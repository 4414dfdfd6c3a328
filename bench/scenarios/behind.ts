/** Sessions far behind their group, connected and not reading, beside sessions that are up to date: memory of each. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import { publishAll, subscribeAndLeave } from './backlog.ts'
import { openMany, round, until } from './scenario.ts'
import type { Scenario } from './scenario.ts'

export const behind: Scenario = {
  name: 'behind',
  headline: 'behind_kb_per_session',
  better: 'lower',
  without: {
    aedes: 'its queue in memory is searched from the start at every acknowledgement',
    mochi: 'each message that waits for a session has a packet id already: 65,535 at most'
  },
  describe: s => `${s.readers} sessions ${s.depth} messages behind connect and do not read; RSS beside ${s.readers} that are up to date`,
  async run (peer, running, settings) {
    const { port } = running
    const broker = running.process
    const count = settings.readers
    const late = Array.from({ length: count }, (_, index) => `late${index}`)
    const prompt = Array.from({ length: count }, (_, index) => `prompt${index}`)
    await peer.createGroups(port, 'sender', new Map([['busy', late], ['quiet', prompt]]))
    for (const [users, gid] of [[late, 'busy'], [prompt, 'quiet']] as const) {
      await openMany(count, index => subscribeAndLeave(port, users[index] as string, peer.groups([gid])))
    }
    const start = await broker.settledRssBytes()
    const publisher = new Publisher(await Connection.open({ port, user: 'sender' }), {
      topics: [peer.toGroup('busy')], stream: 0, body: settings.body, payloadBytes: settings.payloadBytes, window: 100
    })
    let fault = await publishAll(publisher, settings.depth)
    await publisher.connection.close()
    const published = await broker.settledRssBytes(60_000)

    const upToDate = await openMany(count, index => Connection.open({ port, user: prompt[index] as string, clean: false }))
    const beside = await broker.settledRssBytes()
    const receivers: Receiver[] = []
    const stalled = await openMany(count, index => Connection.open({
      port,
      user: late[index] as string,
      clean: false,
      stalled: true,
      prepare: opened => { receivers[index] = new Receiver(opened, peer.systemMark) }
    }))
    const connected = await broker.settledRssBytes()

    // One of them reads on: everything is there, and catching up does not need the memory either.
    for (const connection of [...upToDate, ...stalled.slice(1)]) connection.destroy()
    const reader = receivers[0] as Receiver
    let peak = 0
    let lost: string | undefined
    reader.connection.onLost = reason => { lost = reason }
    reader.connection.resume()
    const whole = await until(() => {
      peak = Math.max(peak, broker.rssBytes())
      return reader.received >= settings.depth || lost !== undefined
    }, 20_000, () => reader.received)
    fault ??= faults([], [reader]) ?? (lost !== undefined || !whole
      ? `the reader got ${reader.received} of ${settings.depth}${lost === undefined ? '' : ` (${lost})`}`
      : undefined)
    reader.connection.destroy()
    const perSession = (bytes: number) => bytes / count / 1000
    return round({
      behind_kb_per_session: perSession(connected - beside),
      up_to_date_kb_per_session: perSession(beside - published),
      rss_start_mb: start / 1e6,
      rss_published_mb: published / 1e6,
      rss_connected_mb: connected / 1e6,
      rss_reading_peak_mb: peak / 1e6
    }, undefined, fault)
  }
}
