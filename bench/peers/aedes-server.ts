/** Raw Aedes as its README starts it, in memory. Run: `node aedes-server.js PORT`. */
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
const server = createServer(socket => { broker.handle(socket) })
server.listen(Number(process.argv[2]), '127.0.0.1')
process.once('SIGTERM', () => { process.exit(0) })
