/** Passwords come from a file, from standard input or from a question without echo; never from the arguments. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CommandError, type Terminal } from './terminal.ts'

const maxBytes = 4096

/** The password in a file (`-` is standard input), without the closing line break. */
export async function passwordFromFile (terminal: Terminal, file: string): Promise<string> {
  if (file === '-') return oneLine(await readAll(terminal, maxBytes))
  try {
    return oneLine(readFileSync(resolve(terminal.folder, file), 'utf8'))
  } catch (error) {
    throw new CommandError(`cannot read the password file: ${(error as Error).message}`, 2)
  }
}

/** A new password: from `file`, or standard input when that is no terminal, or asked for twice. `undefined` when empty. */
export async function newPassword (terminal: Terminal, file: string | undefined): Promise<string | undefined> {
  const source = file ?? (terminal.stdin.isTTY === true ? undefined : '-')
  if (source !== undefined) return await passwordFromFile(terminal, source) || undefined
  const first = await ask(terminal, 'Password: ')
  if (await ask(terminal, 'Again: ') !== first) throw new CommandError('the two are not the same')
  return first === '' ? undefined : first
}

/** The password of a client: from `file`, SABETHES_PASSWORD_FILE or SABETHES_PASSWORD. */
export async function clientPassword (terminal: Terminal, file: string | undefined): Promise<string | undefined> {
  const source = file ?? (terminal.env['SABETHES_PASSWORD_FILE'] || undefined)
  if (source !== undefined) return await passwordFromFile(terminal, source)
  return terminal.env['SABETHES_PASSWORD'] || undefined
}

/** All of standard input; `CommandError` when it is more than `limit` bytes or not UTF-8. */
export async function readAll (terminal: Terminal, limit: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of terminal.stdin) {
    const data = Buffer.from(chunk as Uint8Array | string)
    bytes += data.length
    if (bytes > limit) throw new CommandError(`standard input is longer than ${limit} bytes`)
    chunks.push(data)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch (error) {
    throw new CommandError('standard input is not UTF-8 text', 1, { cause: error })
  }
}

function oneLine (text: string): string {
  const line = text.replace(/\r?\n$/, '')
  if (line.includes('\n')) throw new CommandError('a password is one line', 2)
  return line
}

/** Asks on standard error; what is typed is not shown, because the line editor's output goes nowhere. */
function ask (terminal: Terminal, question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => { done() } })
  const lines = createInterface({ input: terminal.stdin, output: nowhere, terminal: true })
  return new Promise((resolve, reject) => {
    lines.once('line', line => {
      resolve(line)
      lines.close()
    })
    lines.once('SIGINT', () => { lines.close() })
    // After a line this changes nothing: the promise is settled.
    lines.once('close', () => {
      terminal.stderr.write('\n')
      reject(new CommandError('given up'))
    })
    terminal.stderr.write(question)
  })
}
