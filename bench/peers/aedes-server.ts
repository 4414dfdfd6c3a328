/** Raw Aedes as its README starts it, in memory, on TCP and WebSocket. Run: `node aedes-server.js PORT WEBSOCKET_PORT`. */
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { WebSocketServer, createWebSocketStream } from 'ws'

const [port, wsPort] = process.argv.slice(2).map(Number)
const broker = await Aedes.createBroker()
const http = createHttpServer()
const sockets = new WebSocketServer({ server: http, handleProtocols: () => 'mqtt' })
sockets.on('connection', (socket, request) => { broker.handle(createWebSocketStream(socket), request) })
http.listen(wsPort, '127.0.0.1', () => {
  createServer(socket => { broker.handle(socket) }).listen(port, '127.0.0.1')
})
process.once('SIGTERM', () => { process.exit(0) })
