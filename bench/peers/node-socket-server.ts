/** The floor: a server of Node that takes connections, answers CONNECT and SUBSCRIBE with fixed bytes and holds. Run: `node node-socket-server.js PORT`. */
import { createServer } from 'node:net'
import type { Socket } from 'node:net'

const connack = Buffer.from([0x20, 2, 0, 0])
const suback = Buffer.from([0x90, 3, 0, 1, 1])

/** One function for all sockets: nothing is kept for a connection but what Node keeps. The generator waits for each answer. */
function answer (this: Socket, data: Buffer): void {
  if (data[0] === 0x10) this.write(connack)
  else if (data[0] === 0x82) this.write(suback)
}

function ignore (): void {}

createServer({ noDelay: true }, socket => { socket.on('data', answer).on('error', ignore) })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })
process.once('SIGTERM', () => { process.exit(0) })
