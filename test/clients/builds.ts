/** How the programs of the clients are built, once per content of their files and of this one. */
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { builtOnce } from '../support/built-once.ts'
import { command } from '../support/commands.ts'
import { buildGo } from '../support/go-build.ts'
import { packageRoot } from '../support/package-root.ts'

/** In the user's cache folder: builds outlive clones and their packages. */
const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sabethes-clients')
const sourcesOf = (folder: string): string => fileURLToPath(new URL(`test/clients/${folder}/`, packageRoot))

function filesOf (folder: string): string[] {
  return readdirSync(sourcesOf(folder), { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name).slice(sourcesOf(folder).length)).sort()
}

/** What a build depends on. */
const inputs = (folder: string): string[] => [...filesOf(folder), join('..', 'builds.ts')]

/** A copy of the program's folder in which `make` builds. */
function build (folder: string, make: (copy: string) => Promise<void>): Promise<string> {
  return builtOnce({ name: folder, sources: sourcesOf(folder), files: inputs(folder), folder: cache }, async copy => {
    mkdirSync(copy)
    cpSync(sourcesOf(folder), copy, { recursive: true })
    await make(copy)
  })
}

/** The npm package of that name in package.json. */
export const npm = async (name: string): Promise<string[]> => {
  const built = await build('npm-mqtt', copy => command(copy, 'npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts'))
  return [process.execPath, join(built, 'program.mjs'), name]
}

/** A folder with the packages of requirements.txt and the program. */
const pythonBuilt = async (): Promise<string> =>
  await build('paho-python', copy => command(copy, 'python3', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
    '--no-deps', '--require-hashes', '--only-binary', ':all:', '--target', 'packages', '-r', 'requirements.txt'))

/** With the packages of requirements.txt beside it. */
export const python = async (): Promise<string[]> => {
  const built = await pythonBuilt()
  return ['env', `PYTHONPATH=${join(built, 'packages')}`, 'python3', join(built, 'program.py')]
}

/** Of one version of MQTT. */
export const go = async (name: 'v3' | 'v5'): Promise<string[]> =>
  [await buildGo({ name: `paho-go-${name}`, sources: sourcesOf('paho-go'), files: inputs('paho-go'), package: `./${name}`, folder: cache })]

/** Of one library. */
export const java = async (library: string): Promise<string[]> => {
  const built = await build('java', async copy => {
    await command(copy, 'mvn', '-q', '-B', 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies', '-DoutputDirectory=packages', '-DincludeScope=runtime')
    await command(copy, 'javac', '--release', '17', '-d', 'classes', '-cp', 'packages/*', ...filesOf('java').filter(file => file.endsWith('.java')))
  })
  // It lives for seconds: what makes a long run fast costs more than it brings.
  return ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', `${join(built, 'classes')}:${join(built, 'packages', '*')}`, 'Main', library]
}

/** Without optimization: building takes longer than running. */
export const rust = async (): Promise<string[]> => {
  const built = await build('rumqttc', async copy => {
    await command(copy, 'cargo', 'build', '--quiet', '--locked')
    renameSync(join(copy, 'target', 'debug', 'sabethes-client-rumqttc'), join(copy, 'program'))
    // What it was built of is two hundred megabytes.
    rmSync(join(copy, 'target'), { recursive: true })
  })
  return [join(built, 'program')]
}

/** With the system's library. */
export const c = async (): Promise<string[]> => {
  const built = await build('paho-c', copy => command(copy, 'gcc', '-std=gnu11', '-O1', '-Wall', '-Wextra', '-o', 'program', 'program.c', 'show.c', '-lpaho-mqtt3c', '-lpthread'))
  return [join(built, 'program')]
}

/** A script. */
export const shell = (): Promise<string[]> => Promise.resolve(['bash', join(sourcesOf('mosquitto'), 'program.sh')])

const examplePath = (name: string): string => fileURLToPath(new URL(`examples/${name}`, packageRoot))

/** The chat of `examples/` in each language, with the libraries that its clients above have. */
export const chats = {
  node: { tools: [], program: (): Promise<string[]> => Promise.resolve([process.execPath, examplePath('chat.mjs')]) },
  python: {
    tools: ['python3'],
    program: async (): Promise<string[]> => ['env', `PYTHONPATH=${join(await pythonBuilt(), 'packages')}`, 'python3', examplePath('chat.py')]
  },
  go: {
    tools: ['go'],
    program: async (): Promise<string[]> =>
      [await buildGo({ name: 'chat-go', sources: examplePath('chat-go/'), files: ['go.mod', 'go.sum', 'main.go'], package: '.', folder: cache })]
  }
} as const satisfies Record<string, { tools: readonly string[], program: () => Promise<string[]> }>
