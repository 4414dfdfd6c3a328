/** Loads the configuration: file < environment < flags, all mistakes reported at once. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { crossCheck } from './cross-checks.ts'
import { envSource } from './env-source.ts'
import { flagSource, type ConfigFlags } from './flag-source.ts'
import { keyOf } from './keys.ts'
import { ConfigError, type ConfigProblem } from './problem.ts'
import { builtInPlugins, configSchema, type Config } from './schema.ts'
import { nested, type Assignment, type Source } from './source.ts'
import { yamlSource } from './yaml-source.ts'

export interface LoadOptions {
  /** The file of `--config`; without it `sabethes.yaml` in the working folder, if it exists. */
  file?: string
  env?: NodeJS.ProcessEnv
  flags?: ConfigFlags
  /** The working folder. */
  folder?: string
}

export interface Loaded {
  config: Config
  /** Where each key that was given came from: `sabethes.yaml:3:5`, `SABETHES_HTTP__PORT`, `--http-port`. */
  origins: ReadonlyMap<string, string>
  /** Where the part of a key's value was written, or the key; '' for a default. */
  locate: (key: string, path: readonly PropertyKey[]) => string
  /** The file that was read. */
  file: string | undefined
}

const defaultFile = 'sabethes.yaml'

/** Throws `ConfigError` with everything that is wrong. */
export function loadConfig ({ file, env = {}, flags = {}, folder = process.cwd() }: LoadOptions = {}): Loaded {
  const name = file ?? defaultFile
  const text = readText(resolve(folder, name), file)
  const sources = [envSource(env), flagSource(flags)]
  if (text !== undefined) sources.unshift(yamlSource(text, name))
  const { values, problems } = merged(sources)
  const locate = (key: string, path: readonly PropertyKey[]): string => locationOf(values.get(key), path)
  const result = configSchema.safeParse(nested(values))
  if (result.success) {
    const { data: config } = result
    // A problem elsewhere may be what a cross-check stumbles over: say that one first.
    if (problems.length === 0) {
      for (const { key, path = [], text } of crossCheck(config)) problems.push({ origin: locate(key, path), key, text })
    }
    if (problems.length === 0) {
      return { config, locate, origins: new Map([...values].map(([path, { origin }]) => [path, origin])), file: text === undefined ? undefined : name }
    }
  } else {
    for (const issue of result.error.issues) problems.push(problemOf(issue, values))
  }
  throw new ConfigError(problems)
}

/** What later sources say replaces what earlier ones say; options of plugins are put on top, when all of `plugins` is known. */
function merged (sources: readonly Source[]): Source {
  const problems: ConfigProblem[] = []
  const values = new Map<string, Assignment>()
  const options: Array<[string, Assignment]> = []
  for (const source of sources) {
    problems.push(...source.problems)
    for (const [path, assignment] of source.values) {
      if (keyOf(path) === undefined) options.push([path, assignment])
      else values.set(path, assignment)
    }
  }
  for (const [path, assignment] of options) setPluginOption(values, path, assignment)
  return { values, problems }
}

/** Where the part of a value was written, or else the value; '' for a default. */
function locationOf (assignment: Assignment | undefined, path: readonly PropertyKey[]): string {
  return (path.length === 0 ? undefined : assignment?.originOf?.(path)) ?? assignment?.origin ?? ''
}

function readText (path: string, given: string | undefined): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (given === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new ConfigError([{ origin: given ?? defaultFile, text: `cannot be read: ${(error as Error).message}` }])
  }
}

/** `plugins.NAME.option` on top of what is there, in whichever form. */
function setPluginOption (values: Map<string, Assignment>, path: string, { value, origin }: Assignment): void {
  const cut = path.lastIndexOf('.')
  const name = path.slice('plugins.'.length, cut)
  const present = values.get('plugins')?.value
  if (present !== undefined && (typeof present !== 'object' || present === null)) return // the schema says what is wrong with it
  // A Map, because names are free: `__proto__` must stay a name.
  const plugins = new Map<string, unknown>()
  if (Array.isArray(present)) {
    for (const builtIn of builtInPlugins) plugins.set(builtIn, { enabled: present.includes(builtIn) })
    for (const item of present) plugins.set(String(item), { enabled: true })
  } else {
    for (const [key, options] of Object.entries(present ?? {})) plugins.set(key, options)
  }
  const options = new Map(Object.entries(plugins.get(name) ?? {}))
  options.set(path.slice(cut + 1), value)
  plugins.set(name, Object.fromEntries(options))
  values.set('plugins', { value: Object.fromEntries(plugins), origin })
}

function problemOf (issue: z.core.$ZodIssue, values: ReadonlyMap<string, Assignment>): ConfigProblem {
  const parts = issue.path.map(String)
  for (let length = parts.length; length > 0; length--) {
    const path = parts.slice(0, length).join('.')
    const assignment = values.get(path)
    if (assignment === undefined) continue
    const rest = issue.path.slice(length)
    const part = rest.map(step => typeof step === 'number' ? `[${step}]` : `.${String(step)}`).join('')
    const value = rest.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], assignment.value)
    return { origin: assignment.originOf?.(rest) ?? assignment.origin, key: path + part, text: describe(issue, keyOf(path)?.secret === true ? undefined : value) }
  }
  return { origin: '', key: parts.join('.'), text: issue.message }
}

function describe (issue: z.core.$ZodIssue, value: unknown): string {
  const got = value === undefined ? '' : `, not ${short(value)}`
  switch (issue.code) {
    case 'invalid_type': return `must be ${kinds.get(issue.expected) ?? issue.expected}${got}`
    case 'too_small': return issue.origin === 'string' ? 'must not be empty' : `must be at least ${issue.minimum}${got}`
    case 'too_big': return `must be at most ${issue.maximum}${got}`
    case 'invalid_value': return `must be one of ${issue.values.map(String).join(', ')}${got}`
    case 'invalid_union': return issue.message === 'Invalid input' ? `must be true, false or auto${got}` : issue.message
    default: return issue.message + got
  }
}

const kinds = new Map<string, string>([
  ['int', 'a whole number'], ['number', 'a whole number'], ['string', 'text'], ['boolean', 'true or false'], ['array', 'a list'], ['object', 'a section']
])

function short (value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? text.slice(0, 60) + '…' : text
}
