import { existsSync } from 'node:fs'

/** The folder of package.json, wherever the build put this file. */
export const packageRoot = find(new URL('.', import.meta.url))

function find (folder: URL): URL {
  return existsSync(new URL('package.json', folder)) ? folder : find(new URL('..', folder))
}
