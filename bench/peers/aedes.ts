/** Raw Aedes, in memory: what the protocol engine costs alone. */
import { fileURLToPath } from 'node:url'
import { BrokerProcess, freePort } from './process.ts'
import { plainTopics } from './peer.ts'
import type { Peer } from './peer.ts'

const program = fileURLToPath(new URL('./aedes-server.js', import.meta.url))

export const aedes: Peer = {
  ...plainTopics,
  name: 'aedes',
  durable: false,
  missing () { return undefined },
  async start ({ cpu }) {
    const [port, wsPort] = [await freePort(), await freePort()]
    const broker = BrokerProcess.start([process.execPath, program, String(port), String(wsPort)], BrokerProcess.folder(), cpu)
    const startMs = await broker.listening(port)
    return { port, wsPort, process: broker, startMs, stop: () => broker.stop() }
  }
}
