/** What an operator may do, over the control socket of a server that runs. */
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'

/** Rejects unless it is done. */
export async function operator ({ data }: { data: string }, method: string, path: string, body?: object): Promise<void> {
  const asked = request({ socketPath: join(data, 'control.sock'), method, path })
  asked.end(body === undefined ? undefined : JSON.stringify(body))
  const [answer] = await once(asked, 'response') as [{ statusCode: number, resume (): void }]
  answer.resume()
  if (answer.statusCode !== 200) throw new Error(`${method} ${path}: ${answer.statusCode}`)
}
