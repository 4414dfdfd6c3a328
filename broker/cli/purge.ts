/** `sabethes purge`: removes messages past their retention now. */
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { print, say, type Terminal } from './terminal.ts'

export async function purge (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  if (config.messages.retentionSeconds === 0) say(terminal, 'messages.retentionSeconds is 0 here: messages are kept for ever')
  const result = await withTarget(terminal, config, target => target.purge())
  print(terminal, options.json, result, `purged ${result.messages} messages`)
}
