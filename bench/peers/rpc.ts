/** Requests to Sabethes over a connection of the generator. */
import type { Connection } from '../connection.ts'
import * as wire from '../wire.ts'

let lastRid = 0

/** An answer and how long it took: to its last byte, before it is parsed. */
export interface Timed { result: unknown, ms: number }

/**
 * Publishes a request and waits for its answer. Takes over the connection's `onPublish` meanwhile.
 * Rejects when the answer is not ok or not there in `timeoutMs`.
 */
export function timedRequest (connection: Connection, method: string, params: object, timeoutMs = 30_000): Promise<Timed> {
  const rid = String(++lastRid)
  const before = connection.onPublish
  return new Promise((resolve, reject) => {
    const finish = (error: Error | undefined) => {
      clearTimeout(timer)
      connection.onPublish = before
      if (error !== undefined) reject(error)
    }
    const timer = setTimeout(finish, timeoutMs, new Error(`${method}: no answer in ${timeoutMs} ms`))
    const packet = wire.publish(`im/rpc/${method}`, Buffer.from(JSON.stringify({ rid, ...params })), 1)
    const from = performance.now()
    connection.onPublish = (buffer, start, end) => {
      const ms = performance.now() - from
      const text = buffer.toString('utf8', start, end)
      const answer = JSON.parse(text) as { rid?: string, ok?: boolean, result?: unknown }
      if (answer.rid === rid && answer.ok === true) {
        finish(undefined)
        resolve({ result: answer.result, ms })
      } else if (answer.rid === rid || answer.ok === undefined) finish(new Error(`${method}: ${text.slice(0, 300)}`))
    }
    connection.write(packet)
  })
}

/** The result alone. */
export async function request (connection: Connection, method: string, params: object): Promise<unknown> {
  return (await timedRequest(connection, method, params)).result
}
