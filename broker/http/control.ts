/** The control channel: HTTP on a Unix socket in the data folder, for the command line on the same machine. */
import { chmodSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { dirname } from 'node:path'
import { Refusal } from '../errors.ts'
import { createApp } from './app.ts'
import { controlProblem, controlRoutes } from './control-routes.ts'
import { makePrivateFolder, refuseSecond, socketPlace, socketToReach } from './control-socket.ts'
import type { ControlTarget } from './control-target.ts'
import { problemOf } from './problem.ts'

/** Whoever can open the socket (mode 0600) may do everything; these bound mistakes, not attacks. */
const maxConnections = 32
/** Bytes of one request's body. */
const maxBodyBytes = 65_536

/**
 * Serves `target` for the data folder `dataPath` (which exists). A socket that a killed server left behind is replaced;
 * rejects when a living server answers on it.
 */
export async function startControl (dataPath: string, target: ControlTarget): Promise<{ path: string, close (): Promise<void> }> {
  await refuseSecond(dataPath)
  const { path, link } = socketPlace(dataPath)
  for (const known of new Set([socketToReach(dataPath), path])) rmSync(known, { force: true })
  if (link !== undefined) makePrivateFolder(dirname(path))

  const server = await createApp({
    listener: handler => createServer({ requestTimeout: 10_000, headersTimeout: 5000, keepAlive: false }, handler),
    routes: [controlRoutes(target)],
    maxBodyBytes,
    missing: (method, path) => problemOf(new Refusal('not_found', `no such request: ${method} ${path}`)),
    problemOf: controlProblem
  })
  server.maxConnections = maxConnections
  await listen(server, path)
  if (link !== undefined) {
    rmSync(link, { force: true })
    symlinkSync(path, link)
  }
  return {
    path,
    close: async () => {
      const closed = new Promise<void>(resolve => { server.close(() => { resolve() }) })
      server.closeAllConnections()
      await closed
      if (link !== undefined) rmSync(link, { force: true })
    }
  }
}

function listen (server: Server, path: string): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // The socket must never be open to others, not even between bind and chmod; bind happens within this call.
    const before = process.umask(0o177)
    try {
      server.listen(path, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      process.umask(before)
    }
  }).then(() => { chmodSync(path, 0o600) })
}
