/** Ports for the servers of the tests. */
import { once } from 'node:events'
import { createServer } from 'node:net'

const taken = new Set<number>()

/**
 * A free port below the ephemeral range: a client that retries a dead port inside that range can connect to itself, and
 * an outgoing connection of another test can take the port while the server is down.
 */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000)
    if (taken.has(port)) continue
    const probe = createServer()
    const free = await new Promise<boolean>(resolve => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    probe.close()
    await once(probe, 'close')
    taken.add(port)
    return port
  }
}
