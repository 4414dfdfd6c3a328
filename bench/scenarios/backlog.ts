/** Users come back to what waited for them: the rate from CONNECT to the last message. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import { Meter, median } from '../meter.ts'
import { generatorLimit, openMany, round, until } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Subscribes with a session that is kept, and leaves. */
export async function subscribeAndLeave (port: number, user: string, filters: readonly string[]): Promise<void> {
  const connection = await Connection.open({ port, user, clean: false })
  await connection.subscribe(filters)
  await connection.close()
}

/** Publishes until `count` messages are acknowledged; answers what went wrong. */
export async function publishAll (publisher: Publisher, count: number): Promise<string | undefined> {
  const refill = () => { publisher.send(count - publisher.published) }
  publisher.connection.onRead = refill
  refill()
  const whole = await until(() => publisher.acked >= count, 20_000, () => publisher.acked)
  return whole ? faults([publisher], []) : `${count - publisher.acked} of ${count} not acknowledged`
}

export const backlog: Scenario = {
  name: 'backlog',
  headline: 'deliveries_per_s',
  better: 'higher',
  describe: s => `${s.readers} users in turn come back to ${s.waiting} waiting messages each; median of them`,
  async run (peer, running, settings) {
    const { port } = running
    const users = Array.from({ length: settings.readers }, (_, index) => `b${index}`)
    await openMany(users.length, index => subscribeAndLeave(port, users[index] as string, [peer.inbox(users[index] as string)]))
    let fault: string | undefined
    for (const [index, user] of users.entries()) {
      const publisher = new Publisher(await Connection.open({ port, user: `a${index}` }), {
        topics: [peer.toUser(user)], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window: 100
      })
      fault ??= await publishAll(publisher, settings.waiting)
      await publisher.connection.close()
    }
    const rates: number[] = []
    const meter = new Meter(running.process, settings)
    for (const user of users) {
      if (fault !== undefined) break
      const receivers: Receiver[] = []
      let doneAt = 0
      const from = performance.now()
      const connection = await Connection.open({
        port,
        user,
        clean: false,
        prepare: opened => {
          const receiver = new Receiver(opened, peer.systemMark)
          receiver.onMessage = () => { if (receiver.received === settings.waiting) doneAt = performance.now() }
          receivers.push(receiver)
        }
      })
      const received = () => receivers[0]?.received ?? 0
      const whole = await until(() => doneAt > 0, 20_000, received)
      fault ??= faults([], receivers) ?? (whole ? undefined : `${user}: ${settings.waiting - received()} of ${settings.waiting} never arrived`)
      if (whole) rates.push(settings.waiting / (doneAt - from) * 1000)
      await connection.close()
    }
    const usage = meter.read()
    return round({ deliveries_per_s: median(rates), rss_mb: running.process.rssBytes() / 1e6 }, usage, fault, generatorLimit(usage))
  }
}
