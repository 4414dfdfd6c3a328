/** Progress on standard error, when that is a terminal. */
import type { ControlProgress } from '../http/control-target.ts'
import type { Terminal } from './terminal.ts'

/** Runs `job` with a bar named `title`. */
export async function withProgress<T> (terminal: Terminal, title: string, job: (progress: ControlProgress) => Promise<T>): Promise<T> {
  if (terminal.stderr.isTTY !== true) return await job(() => {})
  const { default: { SingleBar, Presets } } = await import('cli-progress')
  const bar = new SingleBar({
    stream: terminal.stderr as NodeJS.WritableStream,
    format: `${title} {bar} {percentage}% {value}/{total}`,
    hideCursor: true,
    clearOnComplete: true
  }, Presets.shades_classic)
  bar.start(1, 0)
  try {
    return await job((done, total) => {
      // Without a total the bar stays open-ended, one step ahead.
      bar.setTotal(total ?? done + 1)
      bar.update(done)
    })
  } finally {
    bar.stop()
  }
}
