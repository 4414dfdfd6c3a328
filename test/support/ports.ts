/** Ports for the servers of the tests. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** Below the ephemeral range: a client that retries a dead port inside that range can connect to itself, and an outgoing connection can take the port while the server is down. */
const range = { first: 10_000, end: 32_000 } as const
const blockSize = 16

/** Ports of the block that this process holds and has not given away. */
let left: number[] = []

/**
 * A port of 127.0.0.1 that nothing listens on, and that no other process of the tests gets: between this answer and the start of
 * the server, and while the server is down between two starts, nothing holds the port itself. So a process holds the first port of a block
 * for as long as it lives, by listening there, and gives away the others.
 */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = left.pop()
    if (port === undefined) {
      left = await holdBlock()
      continue
    }
    const probe = await listen(port)
    if (probe === undefined) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
}

async function holdBlock (): Promise<number[]> {
  const blocks = Math.floor((range.end - range.first) / blockSize)
  for (;;) {
    const first = range.first + Math.floor(Math.random() * blocks) * blockSize
    const holder = await listen(first)
    if (holder === undefined) continue
    holder.unref()
    return Array.from({ length: blockSize - 1 }, (_, at) => first + blockSize - 1 - at)
  }
}

/** Listens on the port; `undefined` when somebody does already. */
async function listen (port: number): Promise<Server | undefined> {
  const server = createServer()
  return await new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => { if (cause.code === 'EADDRINUSE') resolve(undefined); else reject(cause) })
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
