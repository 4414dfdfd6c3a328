/** From the command to the first connection, with an empty store, and what the process weighs then. */
import { Connection } from '../connection.ts'
import { round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

export const startup: Scenario = {
  name: 'startup',
  headline: 'start_ms',
  better: 'lower',
  describe: () => 'time from the command to the first connection taken, and RSS when calm',
  async run (peer, running) {
    const connection = await Connection.open({ port: running.port, user: 'first' })
    await connection.close()
    return round({ start_ms: running.startMs, rss_mb: await running.process.settledRssBytes() / 1e6 })
  }
}
