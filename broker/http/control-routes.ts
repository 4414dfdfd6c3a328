/** Requests of the control channel. JSON in, JSON out. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { Refusal } from '../errors.ts'
import { StoreDamagedError, StoreUnavailableError } from '../store/errors.ts'
import { isId } from '../topics.ts'
import type { Routes } from './app.ts'
import type { ControlProgress, ControlTarget } from './control-target.ts'
import { feedRoutes } from './feed-routes.ts'
import { answerLines } from './json-lines.ts'
import { problemOf, refusalOf, type Problem } from './problem.ts'

/** Bytes of a password. */
const maxPasswordBytes = 1024
const maxPage = 1000
/** Milliseconds between two lines of progress. */
const progressIntervalMs = 100

const params = z.object({ uid: z.string().refine(isId, 'a user id is 1 to 64 of A-Z a-z 0-9 . _ -') })
const page = z.object({ after: z.string().optional(), limit: z.coerce.number().int().min(1).max(maxPage).default(100) })
const password = z.string().min(1).refine(text => Buffer.byteLength(text) <= maxPasswordBytes, `is longer than ${maxPasswordBytes} bytes`)
const newUser = z.strictObject({ password: password.optional() })
const newPassword = z.strictObject({ password })
const backup = z.strictObject({ path: z.string().refine(isAbsolute, 'must be an absolute path').refine(path => !path.includes('\0'), 'must not contain NUL') })
const operation = z.object({ name: z.string().max(64) })
/** Judged by the operation itself. */
const anyParams = z.record(z.string(), z.unknown())
const purge = z.strictObject({ retentionSeconds: z.int().min(0).optional() })

/** What is answered when there is nothing to say. */
const nothing = {}

export function controlRoutes (target: ControlTarget): Routes {
  return app => {
    app.get('/v1/status', () => target.status())
    app.get('/v1/nodes', () => target.nodes())
    app.get('/v1/plugins', () => target.plugins())
    app.post('/v1/operations/:name', { schema: { params: operation, body: anyParams } }, ({ params: { name }, body }) => target.operate(name, body))
    app.post('/v1/purge', { schema: { body: purge } }, ({ body }) => target.purge(body.retentionSeconds))
    app.post('/v1/backup', { schema: { body: backup } }, async ({ body: { path } }, reply) => {
      await answerLines(reply, controlProblem, write => target.backup(path, progressOf(write)))
    })
    app.post('/v1/drain', async (_request, reply) => {
      await answerLines(reply, controlProblem, write => target.drain(progressOf(write)))
    })
    userRoutes(target)(app)
    feedRoutes(target.feed)(app)
  }
}

/** Writes how far a job is, not too often. */
function progressOf (write: (line: object) => void): ControlProgress {
  let nextAt = 0
  return (done, total) => {
    const now = performance.now()
    if (now < nextAt) return
    nextAt = now + progressIntervalMs
    write({ done, ...(total === undefined ? {} : { total }) })
  }
}

function userRoutes ({ users }: ControlTarget): Routes {
  return app => {
    app.get('/v1/users', { schema: { querystring: page } }, ({ query: { after, limit } }) => users.list(after === undefined ? { limit } : { after, limit }))
    app.put('/v1/users/:uid', { schema: { params, body: newUser } }, async ({ params, body }) => {
      await users.add(params.uid, body.password)
      return nothing
    })
    app.delete('/v1/users/:uid', { schema: { params } }, async ({ params }) => {
      await users.remove(params.uid)
      return nothing
    })
    app.put('/v1/users/:uid/password', { schema: { params, body: newPassword } }, async ({ params, body }) => {
      await users.passwd(params.uid, body.password)
      return nothing
    })
    app.put('/v1/users/:uid/ban', { schema: { params } }, async ({ params }) => {
      await users.ban(params.uid, true)
      return nothing
    })
    app.delete('/v1/users/:uid/ban', { schema: { params } }, async ({ params }) => {
      await users.ban(params.uid, false)
      return nothing
    })
  }
}

/** The operator may read why anything failed. */
export function controlProblem (error: unknown): Problem {
  const reason = error instanceof Error ? error.message : String(error)
  const code = error instanceof StoreUnavailableError ? 'unavailable' : error instanceof StoreDamagedError ? 'damaged' : 'internal'
  return problemOf(refusalOf(error) ?? new Refusal(code, reason))
}
