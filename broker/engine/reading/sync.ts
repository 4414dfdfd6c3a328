/** `sync`: what a device lacks, given the numbers it has. */
import { once } from 'node:events'
import { createGzip } from 'node:zlib'
import type { Written } from '../../operations/rules.ts'
import { envelopeText } from '../envelope.ts'
import type { Caller, EngineHost } from '../host.ts'
import { JsonText } from '../requests/json-text.ts'
import { answerBytes, entriesOf } from './listing.ts'
import { RequestQueue } from '../requests/request-queue.ts'
import { floorOf, visibleAfter } from './visible.ts'

/** Most of the gain at a third of the time. */
const packLevel = 3
/** Bytes that are packed before others have their turn: on a machine with one core the thread that packs takes it from the event loop. */
const packedAtOnce = 32 * 1024
/** Conversations whose messages are read before others have their turn. */
const pieceSize = 10

export class Sync {
  readonly #host: EngineHost
  // Packing takes one of the few threads that the store's writes run on: it may have one of them.
  readonly #packing = new RequestQueue(1, 1)

  constructor (host: EngineHost) { this.#host = host }

  missing (caller: Caller, have: ReadonlyMap<string, number>, limit: number): Promise<JsonText> { return missing(this.#host, caller, have, limit) }

  /** The whole answer, gzip. Bytes go out as they are, so they hold all of it. */
  async packed (caller: Caller, result: Written): Promise<Buffer> {
    const { user, rid } = caller
    const done = await this.#packing.enter(user)
    try {
      return await pack(Buffer.concat([Buffer.from(`{${rid === undefined ? '' : `"rid":"${rid}",`}"ok":true,"result":`), ...result.parts, Buffer.from('}')]), caller)
    } finally {
      done()
    }
  }
}

async function pack (bytes: Buffer, caller: Caller): Promise<Buffer> {
  const gzip = createGzip({ level: packLevel, chunkSize: packedAtOnce })
  const packed: Buffer[] = []
  // Beside the callback of the write that failed, which tells the caller.
  let failure: Error | undefined
  gzip.on('error', error => { failure = error })
  gzip.on('data', (some: Buffer) => { packed.push(some) })
  try {
    for (let from = 0; from < bytes.length; from += packedAtOnce) {
      await caller.pause?.()
      await new Promise<void>((resolve, reject) => {
        gzip.write(bytes.subarray(from, from + packedAtOnce), error => { if (error == null) resolve(); else reject(error) })
      })
    }
    if (failure !== undefined) throw failure
    const ended = once(gzip, 'end')
    gzip.end()
    await ended
    return Buffer.concat(packed)
  } finally {
    gzip.destroy()
  }
}

/**
 * `{"conversations":[{"conv":…,"head":…,"last":…,"messages":[…],"more":…}],"more":…,"gone":[…]}`. `last` is what to give as the
 * conversation's number next time, `more` asks for that; `gone` are conversations that were asked for and are not there, or not
 * the caller's (any more).
 */
async function missing (host: EngineHost, caller: Caller, convs: ReadonlyMap<string, number>, limit: number): Promise<JsonText> {
  const { store } = host
  const now = host.now()
  const answer = new JsonText('{"conversations":[')
  const unknown = new Set(convs.keys())
  let listed = 0
  let count = 0
  let bytes = 0
  let more = false
  for await (const page of entriesOf(store, caller)) {
    for (const { member, head } of page) {
      const { conv } = member
      unknown.delete(conv)
      const after = Math.max(convs.get(conv) ?? 0, floorOf(member))
      if (after >= head.seq) continue
      // Room was left for at least one message; `gone` comes with the last page only.
      if (count >= limit || bytes >= answerBytes) return answer.add('],"more":true}')
      if (listed > 0 && listed % pieceSize === 0) await caller.pause?.()
      const found = await visibleAfter(store, member, now, { after, limit: limit - count, maxBytes: answerBytes - bytes })
      count += found.messages.length
      answer.add(`${listed > 0 ? ',' : ''}{"conv":"${conv}","head":${head.seq},"last":${found.edge},"messages":[`)
      found.messages.forEach(({ seq, content }, i) => {
        bytes += Buffer.byteLength(content)
        answer.add((i > 0 ? ',' : '') + envelopeText(conv, seq, content))
      })
      answer.add(`],"more":${found.more}}`)
      more ||= found.more
      listed++
    }
  }
  const gone = !more && unknown.size > 0 ? `,"gone":${JSON.stringify([...unknown])}` : ''
  return answer.add(`],"more":${more}${gone}}`)
}
