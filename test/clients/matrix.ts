/** Runs the program of a client through all cases against a server of its own, and judges what it saw. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { cleanEnv, startServer } from '../support/server.ts'
import { absent, requireTool } from '../support/tools.ts'
import { clients, type Client, type ClientName, type Version } from './clients.ts'
import { judges, type Event } from './judges.ts'

/** The will is the last case: its program ends as a crash does. */
const cases = Object.keys(judges) as Array<keyof typeof judges>

/** How long the slowest program may take for all its cases on a busy machine, milliseconds. */
const programMs = 120_000

/** Tests a client with each version of MQTT that it speaks. Skips when what it needs is not here, and fails then when `CI` is set. */
export async function matrix (t: Test, name: ClientName): Promise<void> {
  const client: Client = clients[name]
  if (!client.tools.every(tool => requireTool(t, tool))) return
  const program = await client.program().catch((cause: Error) => { absent(t, `the program of ${name} does not build here: ${cause.message}`) })
  if (program === undefined) return
  for (const version of client.versions) {
    await t.test(`${name}, MQTT ${version === 3 ? '3.1.1' : '5'}`, t => row(t, client, version, program))
  }
}

async function row (t: Test, client: Client, version: Version, program: string[]): Promise<void> {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['home/#', 'jobs/#'] } } })
  const events = await drive(program, server.mqttPort, version)
  for (const name of cases) {
    await t.test(name, async t => {
      const seen = events.filter(event => event.case === name)
      if (!t.ok(seen.some(({ event }) => event === 'end'), 'came to its end')) return t.comment(JSON.stringify(seen, null, 1))
      const receive = async (user: string, from: string): Promise<unknown[]> => {
        const receiver = await device(t, server.url, user)
        await receiver.subscribe(`im/u/${user}/inbox`)
        await receiver.mail.take()
        return (await receiver.result<{ messages: unknown[] }>('messages.history', { with: from })).messages
      }
      await judges[name](t, { seen, version, quirks: client.quirks, receive })
      if (!t.passing()) t.comment(JSON.stringify(seen, null, 1))
    })
  }
}

/** Runs all cases, and returns what the program printed. */
async function drive ([program = '', ...args]: string[], port: number, version: Version): Promise<Event[]> {
  const child = spawn(program, [...args, '127.0.0.1', String(port), String(version), ...cases], { env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  const events: Event[] = []
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-4000) })
  createInterface(child.stdout).on('line', line => {
    if (line.startsWith('{')) events.push(event(JSON.parse(line) as Record<string, unknown>))
    else said += line + '\n'
  })
  try {
    await within(once(child, 'close'), programMs, `${program} ${args.join(' ')}`)
  } finally {
    child.kill('SIGKILL')
  }
  // It kills itself at the end; what ended before the last case says why on standard error.
  if (!events.some(event => event.case === cases.at(-1) && event.event === 'end')) events.push({ case: cases.find(name => !events.some(event => event.case === name && event.event === 'end')) ?? '', event: 'died', client: '', text: said })
  return events
}

/** Evens out what is easier said in one language than in another. */
function event ({ payloadHex, reasons, ...rest }: Record<string, unknown>): Event {
  return {
    ...rest as unknown as Event,
    ...typeof payloadHex === 'string' && { payload: Buffer.from(payloadHex, 'hex').toString() },
    ...reasons != null && { reasons: (typeof reasons === 'number' ? [reasons] : Object.values(reasons)) as number[] }
  }
}
