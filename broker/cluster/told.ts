/**
 * What an owner has committed for another server it says to its own sessions by itself, at once; the other server is told so with the outcome, and says it to the rest. What that
 * one says all the same (its question was answered too late) is a repeat, which sessions do not get twice.
 */
import { eventOutput, messageOutput } from '../engine/commit/announcement.ts'
import type { Output } from '../link/port.ts'
import type { Operation, Outcome } from '../store/store.ts'
import { logOf } from './split.ts'

/** `told`: to the sessions at the server that committed it. A server that does not know of it leaves it out. */
export type ServedOutcome = Outcome & { told?: true }

/** What an owner says to its own sessions, and the outcomes as it answers them. */
export function served (operations: readonly Operation[], outcomes: readonly Outcome[]): { outputs: Output[], answer: ServedOutcome[] } {
  const outputs: Output[] = []
  const answer = outcomes.map((outcome, i) => {
    const op = operations[i] as Operation
    if (outcome.replay || (op.op !== 'message' && op.op !== 'event')) return outcome
    outputs.push(op.op === 'message' ? messageOutput(op, outcome.seq, outcome.prevTs) : eventOutput(op.user, outcome.seq, op.content))
    return { ...outcome, told: true as const }
  })
  return { outputs, answer }
}

/** Outputs that one server need not be told any more; the oldest go. */
const mostKnown = 10_000

/** Which server has told its own sessions of what. */
export class Told {
  readonly #servers = new Map<string, string>()

  /** `server` has answered so. */
  note (server: string, operations: readonly Operation[], outcomes: readonly ServedOutcome[]): void {
    for (const [i, { told, seq }] of outcomes.entries()) {
      if (told !== true) continue
      this.#servers.set(`${logOf(operations[i] as Operation)} ${seq}`, server)
    }
    for (const oldest of this.#servers.keys()) {
      if (this.#servers.size <= mostKnown) break
      this.#servers.delete(oldest)
    }
  }

  /** The server that knows of an output. To be asked once. */
  take (output: Output): string | undefined {
    if (this.#servers.size === 0 || (output.kind !== 'message' && output.kind !== 'event')) return undefined
    const key = `${output.kind === 'message' ? output.conv : `e:${output.user}`} ${output.seq}`
    const server = this.#servers.get(key)
    if (server !== undefined) this.#servers.delete(key)
    return server
  }
}
