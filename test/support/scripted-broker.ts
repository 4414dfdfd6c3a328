/** An MQTT 5 server that does what a test says: for clients, not for servers. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { generate, parser, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'

export interface Peer {
  connect: IConnectPacket | undefined
  filters: string[]
  /** Packet ids of the PUBACKs that came. */
  acknowledged: number[]
  /** The connection is closed. */
  closed: Promise<void>
  send (packet: Packet): void
  /** A publish at QoS 0. */
  publish (topic: string, value: unknown): void
  cut (): void
}

export interface Script {
  connack?: (packet: IConnectPacket) => number
  /** Answers a publish, PUBACK included. Default: PUBACK. */
  publish?: (peer: Peer, packet: IPublishPacket) => void
  subscribe?: (peer: Peer, filters: string[]) => number[]
  /** After SUBACK. */
  subscribed?: (peer: Peer) => void
}

/** Listens on a free port of 127.0.0.1. */
export async function scriptedBroker (script: Script): Promise<{ url: string, peers: Peer[], close (): Promise<void> }> {
  const sockets = new Set<Socket>()
  const peers: Peer[] = []
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => sockets.delete(socket))
    const send = (packet: Packet): void => { socket.write(generate(packet, { protocolVersion: 5 })) }
    const peer: Peer = {
      connect: undefined,
      filters: [],
      acknowledged: [],
      closed: new Promise(resolve => { socket.once('close', () => { resolve() }) }),
      send,
      publish: (topic, value) => { send({ cmd: 'publish', topic, payload: JSON.stringify(value), qos: 0, dup: false, retain: false }) },
      cut: () => socket.destroy()
    }
    peers.push(peer)
    const reader = parser({ protocolVersion: 5 })
    socket.on('data', chunk => reader.parse(chunk))
    reader.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') {
        peer.connect = packet
        send({ cmd: 'connack', reasonCode: script.connack?.(packet) ?? 0, sessionPresent: false })
      } else if (packet.cmd === 'subscribe') {
        peer.filters = packet.subscriptions.map(({ topic }) => topic)
        send({ cmd: 'suback', messageId: packet.messageId as number, granted: script.subscribe?.(peer, peer.filters) ?? peer.filters.map(() => 1) })
        script.subscribed?.(peer)
      } else if (packet.cmd === 'puback') {
        peer.acknowledged.push(packet.messageId as number)
      } else if (packet.cmd === 'publish') {
        if (script.publish === undefined) send({ cmd: 'puback', messageId: packet.messageId as number, reasonCode: 0 })
        else script.publish(peer, packet)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    peers,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    }
  }
}
