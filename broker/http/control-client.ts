/** The command line's end of the control channel. */
import { request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { codes, Refusal, type Code } from '../errors.ts'
import { isAlive, socketToReach } from './control-socket.ts'
import type { ControlProgress, ControlTarget } from './control-target.ts'
import { feedClient } from './feed-client.ts'
import type { Problem } from './problem.ts'

/** The running server of the data folder `dataPath`; `undefined` when none runs. */
export async function connectControl (dataPath: string): Promise<ControlTarget | undefined> {
  const path = socketToReach(dataPath)
  return await isAlive(path) ? controlClient(path) : undefined
}

/** `ControlTarget` over the socket `path`. Refusals come out as the server threw them. */
export function controlClient (path: string): ControlTarget {
  const call = async (method: string, url: string, body?: unknown): Promise<unknown> => {
    const response = await exchange(path, method, url, body)
    return await readJson(response)
  }
  const lines = async (url: string, body: object, progress: ControlProgress, cut: string): Promise<void> => {
    const response = await exchange(path, 'POST', url, body)
    for await (const line of createInterface({ input: response, crlfDelay: Infinity })) {
      const entry = JSON.parse(line) as { done?: number, total?: number, ok?: true, problem?: Problem }
      if (entry.ok === true) return
      if (entry.problem !== undefined) throw refusalOf(entry.problem)
      progress(entry.done ?? 0, entry.total)
    }
    throw new Refusal('unavailable', cut)
  }
  return {
    users: {
      add: async (uid, password) => { await call('PUT', userPath(uid), password === undefined ? {} : { password }) },
      passwd: async (uid, password) => { await call('PUT', userPath(uid) + '/password', { password }) },
      list: async ({ after, limit }) => await call('GET', `/v1/users?limit=${limit}${after === undefined ? '' : `&after=${encodeURIComponent(after)}`}`) as Awaited<ReturnType<ControlTarget['users']['list']>>,
      ban: async (uid, banned) => { await call(banned ? 'PUT' : 'DELETE', userPath(uid) + '/ban') },
      remove: async uid => { await call('DELETE', userPath(uid)) }
    },
    feed: feedClient(call),
    status: async () => await call('GET', '/v1/status') as Awaited<ReturnType<ControlTarget['status']>>,
    nodes: async () => await call('GET', '/v1/nodes') as Awaited<ReturnType<ControlTarget['nodes']>>,
    purge: async retentionSeconds => await call('POST', '/v1/purge', retentionSeconds === undefined ? {} : { retentionSeconds }) as Awaited<ReturnType<ControlTarget['purge']>>,
    operate: async (name, params) => await call('POST', `/v1/operations/${encodeURIComponent(name)}`, params),
    plugins: async () => await call('GET', '/v1/plugins') as Awaited<ReturnType<ControlTarget['plugins']>>,
    drain: progress => lines('/v1/drain', {}, progress, 'the server ended before all clients had gone'),
    backup: (folder, progress) => lines('/v1/backup', { path: folder }, progress, 'the server stopped before the backup was complete')
  }
}

function userPath (uid: string): string { return `/v1/users/${encodeURIComponent(uid)}` }

function exchange (socketPath: string, method: string, path: string, body: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false, headers: body === undefined ? {} : { 'content-type': 'application/json' } })
    outgoing.once('error', reject)
    outgoing.once('response', response => {
      if (response.statusCode === 200) resolve(response)
      else readJson(response).then(problem => { reject(refusalOf(problem as Problem)) }, reject)
    })
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function readJson (response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}

function refusalOf ({ code, detail, retryAfterMs }: Problem): Refusal {
  return new Refusal(Object.hasOwn(codes, code) ? code as Code : 'internal', detail, retryAfterMs)
}
