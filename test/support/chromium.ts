/** Debian's Chromium without a screen, over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { within } from './mailbox.ts'
import { cleanEnv } from './server.ts'

interface Answer { id?: number, result?: Record<string, unknown>, error?: { message: string } }
interface Evaluated { result?: { value?: unknown }, exceptionDetails?: { text: string, exception?: { description?: string } } }

/** A page that is open. */
export interface Page {
  /** The value of an expression, which may be a promise. Rejects with what it throws. */
  evaluate (expression: string): Promise<unknown>
  /** Resolves when the page's text matches. */
  shows (text: RegExp): Promise<void>
}

const patienceMs = 20_000

/** Starts it with a profile of its own; both are gone when the test ends. */
export async function chromium (t: Test): Promise<{ open: (url: string) => Promise<Page> }> {
  const profile = mkdtempSync(join(tmpdir(), 'sabethes-chromium-'))
  // Its sandbox cannot be had as root.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  const child = spawn('chromium', ['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--no-first-run', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', ...sandbox, 'about:blank'],
    { env: cleanEnv(), stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  const closed = once(child, 'close')
  t.teardown(async () => {
    // With all its processes.
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    await closed
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  })
  const address = await within(new Promise<string>((resolve, reject) => {
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const [, url] = /DevTools listening on (ws:\S+)/.exec(said) ?? []
      if (url !== undefined) resolve(url)
    })
    child.once('error', reject)
    child.once('close', () => { reject(new Error(`chromium ended: ${said.slice(-2000)}`)) })
  }), 60_000, 'chromium')
  const socket = new WebSocket(address)
  await once(socket, 'open')
  t.teardown(() => { socket.terminate() })
  const calls = new Map<number, (answer: Answer) => void>()
  socket.on('message', data => {
    const answer = JSON.parse((data as Buffer).toString()) as Answer
    if (answer.id === undefined) return
    calls.get(answer.id)?.(answer)
    calls.delete(answer.id)
  })
  let last = 0
  const call = async (method: string, params: object, sessionId?: unknown): Promise<Record<string, unknown>> => {
    const id = ++last
    const answered = new Promise<Answer>(resolve => { calls.set(id, resolve) })
    socket.send(JSON.stringify({ id, method, params, ...sessionId !== undefined && { sessionId } }))
    const { result, error } = await within(answered, patienceMs + 10_000, `chromium's answer to ${method}`)
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result ?? {}
  }
  return {
    open: async url => {
      const { targetId } = await call('Target.createTarget', { url: 'about:blank' })
      const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true })
      const evaluate = async (expression: string): Promise<unknown> => {
        const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId) as Evaluated
        if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
        return result?.value
      }
      await call('Page.enable', {}, sessionId)
      await call('Page.navigate', { url }, sessionId)
      await evaluate('new Promise(resolve => { if (document.readyState === "complete" && location.href !== "about:blank") resolve(); else addEventListener("load", resolve) })')
      return {
        evaluate,
        shows: async text => {
          await evaluate(`new Promise((resolve, reject) => {
            const look = () => { if (${String(text)}.test(document.body.innerText)) { observer.disconnect(); resolve() } }
            const observer = new MutationObserver(look)
            observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
            setTimeout(() => { observer.disconnect(); reject(new Error('not shown: ' + ${JSON.stringify(String(text))} + ' in ' + document.body.innerText)) }, ${patienceMs})
            look()
          })`)
        }
      }
    }
  }
}
