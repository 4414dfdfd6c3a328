/** `sabethes purge`: removes messages past their retention now, on the running server or on its store when none runs. */
import { settings, type CommonOptions } from './settings.ts'
import { dataFolder, withTarget } from './target.ts'
import { CommandError, print, type Terminal } from './terminal.ts'

const key = 'messages.retentionSeconds'

/**
 * The retention of the command line counts for this round. One from the command's file or environment must be the running
 * server's own: messages that go are gone, so a configuration that merely lies in this folder does not decide about them.
 */
export async function purge (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config, origins } = await settings(terminal, options)
  const { retentionSeconds: wanted } = config.messages
  const origin = origins.get(key)
  const isFlag = origin?.startsWith('--') === true
  const { of, result } = await withTarget(terminal, config, async (target, isLive) => {
    if (!isLive || isFlag) return { of: '', result: await target.purge(wanted) }
    const { retentionSeconds } = await target.status()
    if (origin !== undefined && wanted !== retentionSeconds) {
      throw new CommandError(`${origin}: ${key} is ${wanted}, but the server on ${dataFolder(terminal, config)} runs with ${retentionSeconds}; ` +
        `nothing was removed: restart the server, or name the retention of this purge with --set ${key}=${wanted}`, 2)
    }
    return { of: ' of the server', result: await target.purge(retentionSeconds) }
  })
  print(terminal, options.json, result, result.retentionSeconds === 0
    ? `nothing was removed: ${key}${of} is 0, messages are kept for ever`
    : `removed ${result.messages} messages older than ${result.retentionSeconds} s`)
}
