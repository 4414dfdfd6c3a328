/** Reads flags: the named ones and `--set key.path=value`. */
import { keyOf, parseText } from './keys.ts'
import { isPluginOption, unknownKey, type Source } from './source.ts'

/** The flags that set a key, as the command line parsed them. */
export interface ConfigFlags {
  mqttPort?: string
  httpPort?: string
  data?: string
  /** `key.path=value`, in order. */
  set?: readonly string[]
}

const named = { mqttPort: ['mqtt.tcp.port', '--mqtt-port'], httpPort: ['http.port', '--http-port'], data: ['store.path', '--data'] } as const

/** The flag of a key that has one. */
export function flagOf (path: string): string | undefined {
  return Object.values(named).find(([key]) => key === path)?.[1]
}

export function flagSource (flags: ConfigFlags): Source {
  const source: Source = { values: new Map(), problems: [] }
  const assign = (path: string, text: string, origin: string): void => {
    const key = keyOf(path)
    if (key === undefined && isPluginOption(path)) {
      source.values.set(path, { value: scalar(text), origin })
      return
    }
    if (key === undefined) {
      source.problems.push(unknownKey(path, origin))
      return
    }
    try {
      source.values.set(path, { value: parseText(key, text), origin })
    } catch (error) {
      source.problems.push({ origin, key: path, text: (error as Error).message })
    }
  }
  for (const [name, [path, origin]] of Object.entries(named)) {
    const text = flags[name as keyof typeof named]
    if (text !== undefined) assign(path, text, origin)
  }
  for (const item of flags.set ?? []) {
    const cut = item.indexOf('=')
    if (cut < 1) source.problems.push({ origin: '--set', text: `expects key.path=value, not '${item}'` })
    else assign(item.slice(0, cut).trim(), item.slice(cut + 1), `--set ${item.slice(0, cut).trim()}`)
  }
  return source
}

/** A plugin's option: JSON where it is JSON, text otherwise. */
function scalar (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return text
    throw error
  }
}
