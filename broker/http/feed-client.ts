/** The command line's end of the control channel, for the feed. */
import type { FeedReaders } from '../link/feed.ts'

/** `call`: a request and what it was answered. */
export function feedClient (call: (method: string, url: string, body?: unknown) => Promise<unknown>): FeedReaders {
  const path = (name: string): string => `/v1/feed/${encodeURIComponent(name)}`
  return {
    readers: async () => await call('GET', '/v1/feed') as Awaited<ReturnType<FeedReaders['readers']>>,
    register: async (name, options) => await call('PUT', path(name), options) as Awaited<ReturnType<FeedReaders['register']>>,
    acknowledge: async (name, position) => { await call('PUT', path(name) + '/position', { position }) },
    remove: async name => { await call('DELETE', path(name)) },
    read: async (name, { after, waitMs }) => await call('GET', `${path(name)}/entries?after=${after}&waitMs=${waitMs}`) as Awaited<ReturnType<FeedReaders['read']>>
  }
}
