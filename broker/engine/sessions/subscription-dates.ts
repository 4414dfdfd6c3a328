/** When a session subscribed to what; see since.ts for what that is good for. */
import type { SessionRow, TimeMs } from '../../store/store.ts'
import type { ChatFilter, StreamKind, Topics } from '../../topics.ts'

type Subscriptions = SessionRow['subscriptions']

/** Whether one of the filters reads all groups; without it a session gets its user's own group messages on its inbox. */
function readsGroups (topics: Topics, user: string, subscriptions: ReadonlyArray<{ filter: string }>): boolean {
  return subscriptions.some(({ filter }) => topics.filter(filter, user)?.kind === 'groups')
}

/** Filters with the time of their SUBSCRIBE: that of before for those which were there. Rows of earlier versions have none. */
export function withDates (topics: Topics, subscriptions: ReadonlyArray<Omit<Subscriptions[number], 'since'>>, row: SessionRow | undefined, now: TimeMs): Subscriptions {
  const user = row?.user ?? ''
  const before = row?.subscriptions ?? []
  const known = new Map(before.map(({ filter, qos, since }) => [filter, { qos, since }]))
  // What the inbox brings of groups begins when they are not read by themselves any more.
  const ownBegins = readsGroups(topics, user, before) && !readsGroups(topics, user, subscriptions)
  return subscriptions.map(subscription => {
    const { filter, qos } = subscription
    const old = known.get(filter)
    const means = topics.filter(filter, user)
    // At QoS 0 nothing is kept for it: it begins with QoS 1.
    const begins = old === undefined || old.qos < qos || (ownBegins && means?.kind === 'own' && means.inbox)
    const since = begins ? now : old.since
    return { ...subscription, ...(since !== undefined && { since }) }
  })
}

export class SubscriptionDates {
  readonly #openedAt: TimeMs
  #direct = Infinity
  #event = Infinity
  #groups = Infinity
  readonly #group = new Map<string, TimeMs>()

  /** `openedAt`: what was subscribed to since then begins as for a new device. */
  constructor (topics: Topics, row: SessionRow | undefined, openedAt: TimeMs) {
    this.#openedAt = openedAt
    for (const { filter, qos, since = Infinity } of row?.subscriptions ?? []) {
      const means = qos === 0 ? undefined : topics.filter(filter, row?.user ?? '')
      if (means !== undefined) this.#begin(means, since)
    }
  }

  #begin (means: ChatFilter, since: TimeMs): void {
    if (means.kind === 'own') {
      if (means.inbox) this.#direct = Math.min(this.#direct, since)
      if (means.event) this.#event = Math.min(this.#event, since)
    } else if (means.kind === 'groups') this.#groups = Math.min(this.#groups, since)
    else if (means.kind === 'group') this.#group.set(means.gid, since)
  }

  /** Milliseconds since the epoch; undefined when it is since this connection only, or not known. `gid` for groups. */
  of (kind: StreamKind, gid = ''): TimeMs | undefined {
    const since = this.#since(kind, gid)
    return since < this.#openedAt ? since : undefined
  }

  #since (kind: StreamKind, gid: string): TimeMs {
    switch (kind) {
      case 'direct': return this.#direct
      case 'event': return this.#event
      case 'group': return Math.min(this.#groups, this.#group.get(gid) ?? Infinity)
      // Where all groups are read, as far as is stored, it begins with this connection.
      case 'own': return this.#groups === Infinity ? this.#direct : Infinity
    }
  }
}
