/** The configuration's keys, read off the schema: names, variables, texts, kinds, defaults. */
import { z } from 'zod'
import { configSchema, defaultConfig } from './schema.ts'

export type KeyKind = 'integer' | 'boolean' | 'string' | 'list' | 'plugins'

export interface ConfigKey {
  /** `mqtt.tcp.port` */
  path: string
  /** `SABETHES_MQTT__TCP__PORT` */
  env: string
  kind: KeyKind
  /** What may be written, for people: `0 to 65535`, `dev | password`. */
  values: string
  description: string
  default: unknown
  /** Never shown. */
  secret: boolean
}

export const envPrefix = 'SABETHES_'

/** `mqtt.limits.keepAliveMaxSeconds` -> `SABETHES_MQTT__LIMITS__KEEP_ALIVE_MAX_SECONDS` */
export function envName (path: string): string {
  return envPrefix + path.split('.').map(part => part.replace(/[A-Z]/g, letter => '_' + letter).toUpperCase()).join('__')
}

function unwrap (schema: unknown): unknown {
  while (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodPipe) {
    schema = schema instanceof z.ZodPipe ? schema.def.in : schema.def.innerType
  }
  return schema
}

function kindOf (path: string, schema: unknown): KeyKind {
  if (path === 'plugins') return 'plugins'
  if (schema instanceof z.ZodNumber) return 'integer'
  if (schema instanceof z.ZodArray) return 'list'
  if (schema instanceof z.ZodBoolean || schema instanceof z.ZodUnion) return 'boolean'
  return 'string'
}

function valuesOf (path: string, schema: unknown): string {
  if (schema instanceof z.ZodNumber) {
    const { minValue, maxValue } = schema
    return maxValue !== null && maxValue < Number.MAX_SAFE_INTEGER ? `${minValue} to ${maxValue}` : `${minValue} or more`
  }
  if (schema instanceof z.ZodEnum) return schema.options.join(' | ')
  if (schema instanceof z.ZodBoolean) return 'true | false'
  if (schema instanceof z.ZodUnion) return path === 'plugins' ? 'list, or names with options' : 'true | false | auto'
  return schema instanceof z.ZodArray ? 'list' : 'text'
}

function walk (shape: Record<string, unknown>, parent: string, defaults: Record<string, unknown>, keys: ConfigKey[]): ConfigKey[] {
  for (const [name, schema] of Object.entries(shape)) {
    const path = parent === '' ? name : `${parent}.${name}`
    const inner = unwrap(schema)
    const fallback = defaults[name]
    if (inner instanceof z.ZodObject) {
      sections.set(path, (schema as z.ZodType).description ?? '')
      walk(inner.shape, path, fallback as Record<string, unknown>, keys)
      continue
    }
    const meta = (schema as z.ZodType).meta() ?? {}
    keys.push({
      path,
      env: envName(path),
      kind: kindOf(path, inner),
      values: valuesOf(path, inner),
      description: meta.description ?? '',
      default: fallback,
      secret: meta['secret'] === true
    })
  }
  return keys
}

const sections = new Map<string, string>()
/** Every key, in the order of the schema. */
export const configKeys: readonly ConfigKey[] = walk(configSchema.shape, '', defaultConfig(), [])
/** Every section with its text, in the order of the schema. */
export const configSections: ReadonlyMap<string, string> = sections

const byPath = new Map(configKeys.map(key => [key.path, key]))
const byEnv = new Map(configKeys.map(key => [key.env, key]))

export function keyOf (path: string): ConfigKey | undefined { return byPath.get(path) }
export function keyOfEnv (name: string): ConfigKey | undefined { return byEnv.get(name) }

/** Reads a value that was written as text (environment, flags); throws `TypeError` with what is expected. */
export function parseText (key: ConfigKey, text: string): unknown {
  switch (key.kind) {
    case 'integer':
      if (!/^[+-]?\d+$/.test(text.trim())) throw new TypeError(`must be a whole number, not '${text}'`)
      return Number(text)
    case 'boolean': {
      const word = text.trim().toLowerCase()
      if (['true', '1', 'yes', 'on'].includes(word)) return true
      if (['false', '0', 'no', 'off'].includes(word)) return false
      if (key.default === 'auto' && word === 'auto') return 'auto'
      throw new TypeError(`must be one of ${key.values.replaceAll(' | ', ', ')}, not '${text}'`)
    }
    case 'string':
      return text
    case 'list':
    case 'plugins':
      return /^\s*[[{]/.test(text) ? parseJson(text) : text.split(',').map(item => item.trim()).filter(item => item !== '')
  }
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new TypeError(`is not valid JSON: ${(error as Error).message}`)
  }
}
