/** How V8 collects garbage in the server's process. */
import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'

/**
 * Sets V8's collector up for a server that holds thousands of messages for the few milliseconds until their commit. To be called at the start: of V8's
 * flags about collections only these may be changed when V8 runs already. Answers whether V8 marks on the event loop's own thread.
 *
 * All objects are made in the young generation. Otherwise V8 counts which places in the program make objects that live on, and makes those in the old
 * generation from then on. Under load everything lives until its commit, so messages are made there: dead soon, but not collected, and what they
 * point at is carried along as if it lived. In four of four starts the memory of the heap doubled within seconds and stayed so, with 2.0 µs of
 * collections a message instead of 0.8 (bench/README.md, "More than it can carry").
 *
 * With one core V8 marks on the event loop's own thread. Otherwise its marking threads, four of the same priority, take the core from the event
 * loop for as long as they mark: messages waited 25 to 60 ms where they wait 12 to 25 now, at the same rate (ADR 8).
 */
export function tuneCollector (cores: number = availableParallelism(), setFlag: (flag: string) => void = setFlagsFromString): boolean {
  setFlag('--no-allocation-site-pretenuring')
  if (cores > 1) return false
  setFlag('--no-concurrent-marking')
  return true
}
