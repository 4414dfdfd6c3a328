/** Hands connections on, from one address to another. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { NetConnectOpts, ListenOptions, Socket } from 'node:net'

export interface Passage {
  /** Where it listens; 0 of one that has a path. */
  readonly port: number
  close (): void
}

/** Resolves when it listens. What ends on one side, by whatever it ends, ends on the other. */
export async function handOn (at: ListenOptions, to: NetConnectOpts): Promise<Passage> {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, client => {
    const inner = connect(to)
    inner.setNoDelay(true)
    for (const [from, other] of [[client, inner], [inner, client]] as const) {
      sockets.add(from)
      from.on('error', () => { other.destroy() })
      from.on('close', () => {
        sockets.delete(from)
        other.destroy()
      })
      from.pipe(other)
    }
  })
  server.listen(at)
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}
