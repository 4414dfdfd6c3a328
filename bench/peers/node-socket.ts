/** No broker: what a connection costs a program of Node that keeps nothing for it. */
import { fileURLToPath } from 'node:url'
import { plainTopics } from './peer.ts'
import type { Peer } from './peer.ts'
import { BrokerProcess, freePort } from './process.ts'

const program = fileURLToPath(new URL('./node-socket-server.js', import.meta.url))

export const nodeSocket: Peer = {
  ...plainTopics,
  name: 'node-socket',
  durable: false,
  missing () { return undefined },
  async start ({ cpu }) {
    const port = await freePort()
    const server = BrokerProcess.start([process.execPath, program, String(port)], BrokerProcess.folder(), cpu)
    const startMs = await server.listening(port)
    return { port, wsPort: 0, process: server, startMs, stop: () => server.stop() }
  }
}
