/** A chat program of `examples/`, as a person has it in a terminal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { Mailbox, within } from './mailbox.ts'
import { cleanEnv } from './server.ts'

export interface ChatProgram {
  /** What it prints, line by line; `all` keeps them. */
  lines: Mailbox<string>
  all: readonly string[]
  type: (text: string) => void
  /** Resolves with this line, when it was printed. */
  says: (text: string | RegExp) => Promise<string>
  /** Ctrl-D; resolves with the exit code. */
  eof: () => Promise<number | null>
  /** Resolves with the exit code. */
  ended: () => Promise<number | null>
  kill: () => Promise<void>
}

/** Starts it. It is killed when the test ends. */
export function chatProgram (t: Test, command: readonly string[], ...args: string[]): ChatProgram {
  const [program = '', ...rest] = [...command, ...args]
  const child = spawn(program, rest, { env: cleanEnv(), stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = new Mailbox<string>(`${program} ${args.join(' ')}`)
  const all: string[] = []
  let errors = ''
  createInterface({ input: child.stdout }).on('line', line => {
    all.push(line)
    lines.put(line)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text })
  const closed = once(child, 'close') as Promise<[number | null]>
  const gone = closed.then(([code]) => {
    lines.end(new Error(`it ended with ${code}:\n${all.join('\n')}\n${errors}`))
    return code
  })
  const ended = async (): Promise<number | null> => await within(gone, 15_000, `the end of ${program} ${args.join(' ')}`)
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended()
  }
  t.teardown(async () => {
    await kill()
    if (!t.passing()) t.comment(`${program} ${args.join(' ')}:\n${all.join('\n')}\n${errors}`)
  })
  return {
    lines,
    all,
    type: text => { child.stdin.write(`${text}\n`) },
    says: async text => await lines.take(line => typeof text === 'string' ? line === text : text.test(line), 15_000, String(text)),
    eof: async () => {
      child.stdin.end()
      return await ended()
    },
    ended,
    kill
  }
}
