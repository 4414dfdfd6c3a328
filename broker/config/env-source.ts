/** Reads `SABETHES_*` variables. */
import { readFileSync } from 'node:fs'
import { configKeys, envPrefix, keyOfEnv, parseText, type ConfigKey } from './keys.ts'
import type { ConfigProblem } from './problem.ts'
import { suggest } from './suggestion.ts'
import type { Source } from './source.ts'

/** Variables of the command line's clients, which are not keys. */
const clientVariables = new Set(['SABETHES_PASSWORD', 'SABETHES_PASSWORD_FILE'])

/**
 * What Kubernetes and Docker set by themselves for a service named `sabethes…` (service links). They never contain `__`,
 * and every key in a section does.
 */
function isServiceLink (name: string, value: string): boolean {
  if (name.includes('__')) return false
  return /_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?$/.test(name) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
    (/_(PORT|NAME)$/.test(name) && /^(tcp|udp|sctp):\/\/|^\/.*\//.test(value))
}

/** Values of the environment. `NAME_FILE` reads the value from a file; an empty variable counts as not set. */
export function envSource (env: NodeJS.ProcessEnv): Source {
  const source: Source = { values: new Map(), problems: [] }
  for (const name of Object.keys(env).filter(name => name.startsWith(envPrefix)).sort()) {
    const value = env[name] ?? ''
    if (value === '' || clientVariables.has(name) || isServiceLink(name, value)) continue
    const fromFile = keyOfEnv(name) === undefined && name.endsWith('_FILE')
    const base = fromFile ? name.slice(0, -'_FILE'.length) : name
    const key = keyOfEnv(base)
    if (key === undefined) source.problems.push(unknownVariable(name, base, fromFile))
    else if (fromFile && (env[base] ?? '') !== '') source.problems.push({ origin: name, text: `and ${base} are both set: remove one` })
    else assign(source, key, name, value, fromFile)
  }
  return source
}

function unknownVariable (name: string, base: string, fromFile: boolean): ConfigProblem {
  const near = suggest(base, configKeys.map(key => key.env))
  return { origin: name, text: `is not a variable of the configuration${near === undefined ? '' : `; did you mean ${near}${fromFile ? '_FILE' : ''}?`}` }
}

/** `value` is the text of the key, or the file that holds it. */
function assign (source: Source, key: ConfigKey, name: string, value: string, fromFile: boolean): void {
  try {
    const text = fromFile ? readFileSync(value, 'utf8').replace(/\r?\n$/, '') : value
    source.values.set(key.path, { value: parseText(key, text), origin: name })
  } catch (error) {
    source.problems.push({ origin: name, key: key.path, text: error instanceof TypeError && !('code' in error) ? error.message : `cannot read ${value}: ${(error as Error).message}` })
  }
}
