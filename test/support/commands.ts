/** Programs that build something. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Runs a program in a folder, and waits for its end. Rejects with the end of what it said when it fails, or is not there. */
export async function command (cwd: string, program: string, ...args: string[]): Promise<void> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-2000) })
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${said}`)
}
