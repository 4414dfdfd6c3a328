/** Answers that tell of a long job while it runs: JSON, a line each. */
import type { FastifyReply } from 'fastify'
import { answerHeaders, type Problem } from './problem.ts'

/**
 * Answers with the lines that `work` writes. The last line is `{"ok":true}`, or `{"problem":{…}}` when it fails after its first
 * one; rejects when it fails before. A reader that is gone is written to no more.
 */
export async function answerLines (reply: FastifyReply, problemOf: (error: unknown) => Problem, work: (write: (line: object) => void) => Promise<void>): Promise<void> {
  const response = reply.raw
  const write = (line: object): void => {
    if (response.destroyed) return
    if (!response.headersSent) {
      reply.hijack()
      response.writeHead(200, { ...answerHeaders, 'content-type': 'application/x-ndjson' })
    }
    response.write(JSON.stringify(line) + '\n')
  }
  try {
    await work(write)
  } catch (error) {
    if (!response.headersSent) throw error
    write({ problem: problemOf(error) })
    response.end()
    return
  }
  write({ ok: true })
  response.end()
}
