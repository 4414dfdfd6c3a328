/** `sabethes config check|show|schema|env` */
import { checkPlugins } from './plugin-problems.ts'
import type { CommonOptions } from './settings.ts'
import { settings } from './settings.ts'
import { print, type Terminal } from './terminal.ts'

export async function check (terminal: Terminal, options: CommonOptions & { load?: boolean }): Promise<void> {
  const loaded = await settings(terminal, options)
  const { file, config } = loaded
  await checkPlugins(loaded, terminal.folder, options.load === true)
  const { changedKeys } = await import('../config/present.ts')
  const changed = changedKeys(config)
  print(terminal, options.json, { ok: true, file: file ?? null, changed },
    `ok: ${file ?? 'no file'}, ${changed.length} of the keys differ from their defaults`)
}

export async function show (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config, origins } = await settings(terminal, options)
  const { changedKeys, effectiveYaml, plainConfig } = await import('../config/present.ts')
  if (options.json !== true) return print(terminal, false, undefined, effectiveYaml(config, origins))
  print(terminal, true, {
    config: plainConfig(config),
    origins: Object.fromEntries(changedKeys(config).map(key => [key, origins.get(key) ?? 'given']))
  })
}

/** The same with and without `--json`. */
export async function schema (terminal: Terminal): Promise<void> {
  const { configJsonSchema } = await import('../config/schema.ts')
  terminal.stdout.write(JSON.stringify(configJsonSchema(), null, 2) + '\n')
}

export async function env (terminal: Terminal, options: { json?: boolean, markdown?: boolean }): Promise<void> {
  const { configKeys } = await import('../config/keys.ts')
  const { defaultText, envText, markdownTable } = await import('../config/present.ts')
  if (options.json === true) {
    return print(terminal, true, configKeys.map(key => ({
      variable: key.env, key: key.path, default: defaultText(key), values: key.values, description: key.description
    })))
  }
  print(terminal, false, undefined, options.markdown === true ? markdownTable() : envText())
}
