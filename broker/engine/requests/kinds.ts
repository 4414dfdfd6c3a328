/** What kinds of requests there are. */

/** They change nothing: nobody misses one whose asker has gone. */
const queries: ReadonlySet<string> = new Set([
  'conversations.list', 'unread', 'messages.history', 'messages.reads', 'groups.info', 'groups.list', 'groups.invitations', 'blocks.list', 'server.info', 'sync'
])

/** They read or change much at once. */
const heavy: ReadonlySet<string> = new Set([
  'conversations.list', 'unread', 'sync', 'messages.reads', 'groups.create', 'groups.add', 'groups.remove', 'groups.dissolve'
])

/** Of a user one at a time: they read or change much, or may answer with half a megabyte. */
export function isLong (method: string): boolean { return method === 'messages.history' || heavy.has(method) }
export function isQuery (method: string): boolean { return queries.has(method) }
export function isHeavy (method: string): boolean { return heavy.has(method) }
