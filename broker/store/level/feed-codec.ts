/** Rows of the feed as text: `ts count|conv seq conv seq+more …`. An item of another kind than a message will begin with its kind and a slash. */
import type { FeedReader } from '../feed.ts'
import type { FeedItem, FeedRow } from '../feed-rows.ts'
import { lastNumber, lastPart } from './keys.ts'

/** `first` stands in the key: `w first`. */
export function encodeFeedRow ({ ts, count, items }: FeedRow): string {
  let text = `${ts} ${count}|`
  let isFirst = true
  for (const { conv, seq, count: many } of items) {
    text += `${isFirst ? '' : ' '}${conv} ${many === 1 ? seq : `${seq}+${many - 1}`}`
    isFirst = false
  }
  return text
}

export function decodeFeedRow (text: string, key: string): FeedRow {
  const bar = text.indexOf('|')
  const [ts, count] = text.slice(0, bar).split(' ')
  const fields = text.slice(bar + 1).split(' ')
  const items: FeedItem[] = []
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [seq, more = '0'] = (fields[i + 1] as string).split('+')
    items.push({ conv: fields[i] as string, seq: Number(seq), count: Number(more) + 1 })
  }
  return { first: lastNumber(key), ts: Number(ts), count: Number(count), items }
}

/** `name` stands in the key: `o name`. */
export function encodeFeedReader ({ position, createdAt }: FeedReader): string { return `${position} ${createdAt}` }

export function decodeFeedReader (text: string, key: string): FeedReader {
  const [position, createdAt] = text.split(' ')
  return { name: lastPart(key), position: Number(position), createdAt: Number(createdAt) }
}
