/** Builds the clients that need it, once per content of their files. By hand, so that no test waits for compilers: `node dist/test/clients/build.js`. */
import { found } from '../support/tools.ts'
import { chats } from './builds.ts'
import { clients } from './clients.ts'

const examples = Object.entries(chats).map(([language, chat]) => [`examples, ${language}`, chat] as const)
for (const [name, client] of [...Object.entries(clients), ...examples]) {
  const missing = client.tools.filter(tool => !found(tool))
  const began = Date.now()
  const what = missing.length > 0 ? `not built: ${missing.join(', ')} missing` : (await client.program()).join(' ')
  process.stdout.write(`${name}: ${what} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
}
