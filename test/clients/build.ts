/** Builds the clients that need it, once per content of their files. By hand, so that no test waits for compilers: `node dist/test/clients/build.js`. */
import { found } from '../support/tools.ts'
import { clients, type Client } from './clients.ts'

for (const [name, client] of Object.entries(clients) as Array<[string, Client]>) {
  const missing = client.tools.filter(tool => !found(tool))
  const began = Date.now()
  const what = missing.length > 0 ? `not built: ${missing.join(', ')} missing` : (await client.program()).join(' ')
  process.stdout.write(`${name}: ${what} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
}
