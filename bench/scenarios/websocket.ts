/** `pairs` over WebSocket. */
import { pairs } from './pairs.ts'
import type { Scenario } from './scenario.ts'

export const websocket: Scenario = {
  name: 'websocket',
  headline: pairs.headline,
  better: pairs.better,
  describe: s => `${pairs.describe(s)}, over WebSocket`,
  run: (peer, running, settings) => pairs.run(peer, { ...running, port: running.wsPort }, { ...settings, websocket: true })
}
