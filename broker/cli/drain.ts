/** `sabethes drain`: the clients of the server on this machine go to others, and it ends. */
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { running } from './target.ts'
import { print, type Terminal } from './terminal.ts'

export async function drain (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  const target = await running(terminal, config)
  let sessions = 0
  await withProgress(terminal, 'drain', async progress => {
    await target.drain((done, total) => {
      sessions = total ?? done
      progress(done, total)
    })
  })
  print(terminal, options.json, { ok: true, sessions }, `drained: ${sessions} sessions; the server ends`)
}
