/** mochi-mqtt, in memory. `mochi/main.go` lifts the limit that would make it drop messages of the bench. */
import { goProgram, missingGo, unbuilt } from './go-programs.ts'
import { BrokerProcess, freePort } from './process.ts'
import { plainTopics } from './peer.ts'
import type { Peer } from './peer.ts'

export const mochi: Peer = {
  ...plainTopics,
  name: 'mochi',
  durable: false,
  missing: missingGo,
  prepare: () => unbuilt('mochi'),
  async start ({ cpu }) {
    const program = await goProgram('mochi')
    const [port, wsPort] = [await freePort(), await freePort()]
    const broker = BrokerProcess.start([program, '-port', String(port), '-websocket', String(wsPort)], BrokerProcess.folder(), cpu)
    const startMs = await broker.listening(port)
    await broker.listening(wsPort)
    return { port, wsPort, process: broker, startMs, stop: () => broker.stop() }
  }
}
