import { readFileSync } from 'node:fs'

let known: string | undefined

/** The version in the package's own package.json, wherever the build put this file. */
export function packageVersion (): string {
  known ??= readVersion()
  return known
}

function readVersion (): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as { name?: string, version?: string }
      if (name === 'sabethes' && version !== undefined) return version
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    if (folder.pathname === new URL('..', folder).pathname) return 'unknown'
  }
}
