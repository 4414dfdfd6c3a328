/** Requests to Sabethes over a connection of the generator. */
import type { Connection } from '../connection.ts'
import * as wire from '../wire.ts'

let lastRid = 0

/**
 * Publishes a request and waits for its answer. Takes over the connection's `onPublish` meanwhile.
 * Rejects when the answer is not ok or not there in `timeoutMs`.
 */
export function request (connection: Connection, method: string, params: object, timeoutMs = 30_000): Promise<unknown> {
  const rid = String(++lastRid)
  const before = connection.onPublish
  return new Promise((resolve, reject) => {
    const finish = (error: Error | undefined, result?: unknown) => {
      clearTimeout(timer)
      connection.onPublish = before
      if (error !== undefined) reject(error)
      else resolve(result)
    }
    const timer = setTimeout(finish, timeoutMs, new Error(`${method}: no answer in ${timeoutMs} ms`))
    connection.onPublish = (buffer, start, end) => {
      const text = buffer.toString('utf8', start, end)
      const answer = JSON.parse(text) as { rid?: string, ok?: boolean, result?: unknown }
      if (answer.rid === rid && answer.ok === true) finish(undefined, answer.result)
      else if (answer.rid === rid || answer.ok === undefined) finish(new Error(`${method}: ${text.slice(0, 300)}`))
    }
    connection.write(wire.publish(`im/rpc/${method}`, Buffer.from(JSON.stringify({ rid, ...params })), 1))
  })
}
