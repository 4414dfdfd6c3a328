/** How V8 collects garbage in the server's process. */
import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'

/**
 * With one core, has V8 mark on the event loop's own thread. Otherwise its marking threads, four of the same priority, take the core from the event
 * loop for as long as they mark: messages waited 25 to 60 ms where they wait 12 to 25 now, at the same rate (ADR 8). Answers whether it was done.
 *
 * To be called at the start. Of V8's flags about collections only this one may be changed when V8 runs already.
 */
export function markOnOwnThread (cores: number = availableParallelism(), setFlag: (flag: string) => void = setFlagsFromString): boolean {
  if (cores > 1) return false
  setFlag('--no-concurrent-marking')
  return true
}
