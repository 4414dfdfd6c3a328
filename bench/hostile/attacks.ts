/** What clients do that wish the server ill, or know no better. Each is one line of the scenario `hostile`. */
import * as wire from '../wire.ts'

/** The user with a long conversation list, and the one with a conversation of large messages; `peers/sabethes-hostile.ts` makes them. */
export const hub = 'hub'
export const reader = 'reader'
export const writer = 'writer'

export interface Attack {
  name: string
  connections: number
  /** The user of each connection. */
  user: (index: number) => string
  /** One packet, or several. Written again and again while the attack lasts. */
  packets: Buffer
  /** Written so often instead, by each connection. */
  times?: number
  /** Each connection ends, without a DISCONNECT, as soon as all is written. */
  leaves?: boolean
  /** Whether the clients take what the server sends them. */
  reads: boolean
}

function request (method: string, params: object, rid = '1'): Buffer {
  return wire.publish(`im/rpc/${method}`, Buffer.from(JSON.stringify({ rid, ...params })), 1)
}

function publish (topic: string, text: string): Buffer { return wire.publish(topic, Buffer.from(text), 1) }

const keys = Array.from({ length: 4500 }, (_, i) => `"k${i.toString(36)}":${i}`).join()
const depth = 30_000
const groupMembers = Array.from({ length: 1000 }, (_, i) => `member-${i}`)

const filters = ['im/u/flood/inbox', ...Array.from({ length: 30 }, (_, i) => `im/g/nothing-${i}`)]
const largeHistory = request('messages.history', { with: writer, limit: 200 })

export const attacks: readonly Attack[] = [
  { name: 'unread_answers', connections: 1, user: () => reader, packets: largeHistory, times: 1000, reads: false },
  { name: 'unread_answers_x5', connections: 5, user: () => reader, packets: largeHistory, times: 1000, reads: false },
  { name: 'ask_and_leave_x100', connections: 100, user: () => reader, packets: request('messages.history', { with: writer, limit: 200 }), times: 1000, leaves: true, reads: false },
  { name: 'list_20000_x20', connections: 20, user: () => hub, packets: request('conversations.list', { limit: 50 }), reads: true },
  { name: 'unread_x200', connections: 1, user: () => hub, packets: Buffer.concat(Array.from({ length: 200 }, (_, i) => request('unread', {}, `r${i}`))), reads: true },
  { name: 'json_4500_keys', connections: 1, user: () => 'keys', packets: publish('im/to/u/nobody', `{"body":{${keys}}}`), reads: true },
  { name: 'deep_request', connections: 1, user: () => 'deep', packets: publish('im/rpc/unread', `{"rid":"1","a":${'['.repeat(depth)}${']'.repeat(depth)}}`), reads: true },
  { name: 'subscribe', connections: 1, user: () => 'flood', packets: wire.subscribe(1, filters), reads: true },
  { name: 'pingreq_x10', connections: 10, user: index => `ping${index}`, packets: Buffer.from([0xc0, 0]), reads: true },
  { name: 'unknown_topics_x10', connections: 10, user: index => `lost${index}`, packets: publish('im/no/such/topic', 'x'), reads: true },
  { name: 'sync_gzip_x90', connections: 90, user: () => reader, packets: request('sync', { gzip: true }), reads: true },
  {
    name: 'groups_create_x180',
    connections: 1,
    user: () => 'maker',
    packets: Buffer.concat(Array.from({ length: 180 }, (_, i) => request('groups.create', { gid: `big-${i}`, members: groupMembers }))),
    times: 1,
    reads: true
  }
]
