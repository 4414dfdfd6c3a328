/**
 * Peers that are written in Go: built once in the user's cache folder, in the versions that their go.mod pins.
 * By hand, so that no test and no run waits for the compiler: `node dist/bench/peers/go-programs.js`.
 */
import { fileURLToPath } from 'node:url'
import { buildGo } from '../../test/support/go-build.ts'
import { packageRoot } from '../../test/support/package-root.ts'
import { cacheFolder } from '../cache.ts'
import { find } from './process.ts'

/** What is built, and of which files beside go.mod and go.sum. */
const programs = {
  nats: { package: 'github.com/nats-io/nats-server/v2', files: [] },
  mochi: { package: '.', files: ['main.go'] }
} as const satisfies Record<string, { package: string, files: readonly string[] }>

export type GoPeer = keyof typeof programs

/** The path of the program; builds it when it is not there yet. */
export function goProgram (name: GoPeer): Promise<string> {
  return buildGo({
    name,
    sources: fileURLToPath(new URL(`bench/peers/${name}/`, packageRoot)),
    files: [...programs[name].files, 'go.mod', 'go.sum'],
    package: programs[name].package,
    folder: cacheFolder
  })
}

/** Why such a peer cannot be here. */
export function missingGo (): string | undefined {
  return find('go') === undefined ? 'go is not installed, which builds it' : undefined
}

/** Builds it; why that failed. */
export async function unbuilt (name: GoPeer): Promise<string | undefined> {
  try {
    await goProgram(name)
    return undefined
  } catch (error) {
    return `it does not build here: ${(error as Error).message.trim()}`
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const name of Object.keys(programs) as GoPeer[]) {
    const began = Date.now()
    process.stdout.write(`${await goProgram(name)} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
  }
}
