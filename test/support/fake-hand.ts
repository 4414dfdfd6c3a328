/** A worker of a share without a connection: the test says what room it has, and what it acknowledges. */
import { pino } from 'pino'
import type { Test } from 'tap'
import type { Hand, Member } from '../../broker/gateway/delivery/member.ts'
import type { Share } from '../../broker/gateway/delivery/share.ts'
import type { Entry, Stream } from '../../broker/gateway/delivery/stream.ts'
import type { GatewayLimits } from '../../broker/gateway/limits.ts'
import { Shares } from '../../broker/gateway/shares.ts'
import { Topics } from '../../broker/topics.ts'
import { bench, settled, wideLimits, type Bench } from './memory-client.ts'

const filter = '$share/w/im/u/bob/inbox'

export class FakeHand implements Hand {
  readonly id: string
  readonly kept = false
  crowded = false
  /** Of the payloads that it takes. */
  largestBytes = Infinity
  cuts = 0
  readonly notices: string[] = []
  readonly held: Array<{ ticket: number, seq: number }> = []
  readonly #most: number
  readonly #share: Share
  readonly #member: Member

  constructor (share: Share, id: string, most: number, largestBytes = Infinity) {
    this.#share = share
    this.id = id
    this.#most = most
    this.largestBytes = largestBytes
    this.#member = share.join(this)
  }

  get room (): number { return this.crowded ? 0 : this.#most - this.held.length }
  get seqs (): number[] { return this.held.map(({ seq }) => seq) }

  take (_stream: Stream, { seq, payload }: Entry, ticket: number): 'dealt' | 'refused' {
    if (payload.length > this.largestBytes) return 'refused'
    this.held.push({ ticket, seq })
    return 'dealt'
  }

  /** Acknowledges what it got of this number. */
  ack (seq: number): void {
    const [held] = this.held.splice(this.held.findIndex(one => one.seq === seq), 1)
    if (held === undefined) throw new Error(`${this.id} does not hold ${seq}`)
    this.#share.acknowledged(this.#member, held.ticket)
    this.#share.wake()
  }

  notice (payload: Uint8Array): void { this.notices.push(Buffer.from(payload).toString()) }
  fail (err: Error): void { throw err }

  cutOff (): void {
    this.cuts++
    this.held.length = 0
    this.#share.gone(this.#member)
  }
}

interface Sharing {
  b: Bench
  share: Share
  /** So many messages to the share's user. */
  commit (count: number, text?: string): Promise<void>
  /** Time passes, and the shares are swept. */
  pass (ms: number): Promise<void>
}

/** A share whose time is the test's. */
export async function shareOf (t: Test, limits: Partial<GatewayLimits>): Promise<Sharing> {
  let now = 0
  const b = bench(t, {}, undefined, [], undefined, false, () => now)
  const shares = new Shares({ engine: b.engine, pump: b.access.pump, topics: new Topics(), limits: { ...wideLimits, ...limits }, log: pino({ level: 'silent' }) })
  const share = await shares.enter('bob', filter)
  t.teardown(async () => {
    shares.left('bob', filter, false)
    await shares.close()
  })
  await settled(b.engine)
  return {
    b,
    share,
    commit: async (count, text) => {
      for (let i = 0; i < count; i++) b.engine.commit('d:alice:bob', 'alice', text)
      await settled(b.engine)
    },
    pass: async ms => {
      now += ms
      shares.sweep(now)
      await settled(b.engine)
    }
  }
}
