/** The document of each kind of row that `sabethes migrate` brings. */
import { Binary } from 'mongodb'
import type { TransferKind, TransferRows } from '../transfer.ts'
import { blockKey, cursorKey, groupDoc, hiddenKey, memberDoc, messageDoc, place, resendKey } from './documents.ts'
import type { EventDoc, HeadDoc } from './documents.ts'
import { rowDoc } from './feed.ts'

export const transferDocuments: { [K in TransferKind]: { collection: string, document: (row: TransferRows[K]) => object } } = {
  user: { collection: 'users', document: ({ uid, ...row }) => ({ _id: uid, ...row }) },
  block: { collection: 'blocks', document: ({ uid, other }) => ({ _id: blockKey(uid, other), u: uid, b: other }) },
  group: { collection: 'groups', document: groupDoc },
  head: {
    collection: 'conversations',
    document: ({ conv, seq, n, ts, purgedSeq, purgedN, oldestTs, expiring }): HeadDoc => (
      { _id: place(conv), s: seq, n, ts, ps: purgedSeq, pn: purgedN, ...(oldestTs === undefined ? {} : { o: oldestTs }), ...(expiring === undefined ? {} : { e: expiring }) }
    )
  },
  member: { collection: 'conversations', document: memberDoc },
  hidden: {
    collection: 'hidden',
    document: ({ user, conv, seq, counts }) => ({ _id: hiddenKey(user, conv, seq), u: user, c: conv, s: seq, n: counts ? 1 : 0 })
  },
  message: {
    collection: 'messages',
    document: ({ seq, n, cid, ...row }) => {
      const key = cid === undefined ? 'i' + row.id : 'c' + cid
      return messageDoc({ op: 'message', ...row, marksSender: false }, key, { seq, n })
    }
  },
  event: {
    collection: 'events',
    document: ({ user, seq, ts, content, slot }) => ({ _id: slot === undefined ? `${user} ${seq}` : `${user} s${slot}`, u: user, s: seq, ts, p: content })
  },
  eventHead: { collection: 'eventHeads', document: ({ user, seq, deliveredSeq }) => ({ _id: user, s: seq, d: deliveredSeq }) },
  session: { collection: 'sessions', document: ({ session, ...row }) => ({ _id: session, ...row }) },
  cursor: { collection: 'cursors', document: ({ session, stream, seq, sent }) => ({ _id: cursorKey(session, stream), p: session, s: seq, t: sent }) },
  resend: {
    collection: 'resends',
    document: ({ conv, seq, n, id, ts, digest, epoch, number, ...resend }) => ({
      _id: resendKey(resend), c: place(conv), s: seq, n, id, ts, g: digest, ...(epoch === undefined ? {} : { qe: epoch, qn: number })
    })
  },
  record: { collection: 'records', document: ({ key, value }) => ({ _id: key, v: new Binary(value) }) },
  feed: { collection: 'feed', document: rowDoc },
  feedReader: { collection: 'feedReaders', document: ({ name, position, createdAt }) => ({ _id: name, p: position, at: createdAt }) }
}

/** The slot of an event, from its id. */
export function eventSlot ({ _id, u }: EventDoc): string | undefined {
  const rest = _id.slice(u.length + 1)
  return rest.startsWith('s') ? rest.slice(1) : undefined
}
