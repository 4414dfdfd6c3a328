/** What a server is called over all its starts, for those that share its database: a random name in its data folder. */
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const file = 'node'

/** The name of the server of a data folder (which exists); made at its first start. */
export async function nodeName (dataPath: string): Promise<string> {
  const path = join(dataPath, file)
  const known = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  // A crash may have left it empty.
  const name = known?.trim() ?? ''
  if (name !== '') return name
  const made = randomBytes(9).toString('base64url')
  await writeFile(path, made + '\n', { mode: 0o600 })
  return made
}
