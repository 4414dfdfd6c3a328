/** `mosquitto_pub` and `mosquitto_sub` as a person types them. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { Mailbox, within } from './mailbox.ts'
import { run } from './server.ts'
import type { Exit } from './server.ts'
import { requireTool } from './tools.ts'

/** True when both clients are installed; otherwise the test is skipped (fails when `CI` is set). */
export function requireMosquitto (t: Test): boolean {
  return requireTool(t, 'mosquitto_pub') && requireTool(t, 'mosquitto_sub') && requireTool(t, 'stdbuf')
}

/** Runs `mosquitto_pub -p {port} …` to its end. */
export async function mosquittoPub (port: number, ...args: string[]): Promise<Exit> {
  return await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), ...args])
}

/** Runs `mosquitto_sub -p {port} …` to its end (give it `-C` or `-W`). */
export async function mosquittoSub (port: number, ...args: string[]): Promise<Exit> {
  return await run('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(port), ...args])
}

/** A `mosquitto_sub` that goes on running; `lines` are what it printed. Resolves once it is subscribed. */
export async function listen (t: Test, port: number, ...args: string[]): Promise<{ lines: Mailbox<string>, child: ChildProcess }> {
  // Its report of the SUBACK is not flushed into a pipe: stdbuf makes it so.
  const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', '-h', '127.0.0.1', '-p', String(port), '-d', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const lines = new Mailbox<string>(`mosquitto_sub ${args.join(' ')}`)
  const subscribed = new Mailbox<string>('mosquitto_sub')
  let rest = ''
  const read = (text: string): void => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) {
      if (/^Subscribed \(mid/.test(line)) subscribed.put(line)
      else if (!/^(Client|Subscribed|All subscription)/.test(line)) lines.put(line)
    }
  }
  child.stdout.setEncoding('utf8').on('data', read)
  child.once('close', () => subscribed.end(new Error('mosquitto_sub ended')))
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    await within(closed, 5000, 'the end of mosquitto_sub')
  })
  await subscribed.take()
  return { lines, child }
}
