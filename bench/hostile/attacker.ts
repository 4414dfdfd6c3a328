/**
 * The attacking clients, a process of their own that gives way to everybody: what they do must not hold up the clients that are measured, which
 * may have the same core.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setPriority } from 'node:os'
import { wait } from '../meter.ts'
import * as wire from '../wire.ts'
import { attacks } from './attacks.ts'
import type { Attack } from './attacks.ts'

export interface AttackerData { port: number, attack: string, seconds: number }

/** Small packets are written in pieces of about this many bytes. */
const pieceBytes = 64 * 1024
const scratch = Buffer.allocUnsafe(256 * 1024)

async function open (port: number, user: string, clientId: string, reads: boolean): Promise<Socket> {
  let answered = (): void => {}
  const connack = new Promise<void>(resolve => { answered = resolve })
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread: { buffer: scratch, callback: () => { answered(); return reads } } })
  // The server may end it at any time.
  socket.on('error', () => { socket.destroy() })
  socket.write(wire.connect({ clientId, user, clean: true, keepAliveSeconds: 0 }))
  await Promise.race([connack, once(socket, 'close')])
  return socket
}

function flood (socket: Socket, packets: Buffer): void {
  const piece = Buffer.concat(new Array<Buffer>(Math.max(1, Math.floor(pieceBytes / packets.length))).fill(packets))
  const fill = (): void => { while (!socket.destroyed && socket.write(piece)); }
  socket.on('drain', fill)
  fill()
}

async function run ({ port, attack: name, seconds }: AttackerData): Promise<void> {
  const attack = attacks.find(one => one.name === name) as Attack
  const sockets = await Promise.all(Array.from({ length: attack.connections }, (_, i) => open(port, attack.user(i), `${name}-${i}`, attack.reads)))
  process.send?.('begun')
  for (const socket of sockets) {
    if (attack.times === undefined) {
      flood(socket, attack.packets)
    } else {
      socket.write(Buffer.concat(new Array<Buffer>(attack.times).fill(attack.packets)), () => { if (attack.leaves === true) socket.destroy() })
    }
  }
  await wait(seconds * 1000)
  for (const socket of sockets) socket.destroy()
  process.disconnect()
}

const lowestPriority = 19
setPriority(lowestPriority)
await run(JSON.parse(process.argv[2] as string) as AttackerData)
