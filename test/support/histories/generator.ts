/** Makes a history of a seed. It keeps a rough account of who is connected, so that most actions have something to do. */
import type { Action, Connecting, History, Outgoing, Qos, Wanted } from './actions.ts'
import { Random } from './random.ts'

const filters = ['{root}/a', '{root}/b', '{root}/+', '{root}/#', '{root}/a/#', '{root}/a/+', '{root}/+/x', '{root}/r']
/** Each has subscription identifiers of its own, by which a copy is known: see `shareOf`. */
export const shares = ['$share/one/{root}/s/+', '$share/two/{root}/s/#', '$share/one/{root}/s/1'] as const
const topics = ['{root}/a', '{root}/b', '{root}/a/x', '{root}/b/x']
const sharedTopics = ['{root}/s/1', '{root}/s/2']

/** The shared filter that a subscription identifier belongs to. */
export function shareOf (identifier: number): string | undefined { return identifier >= 100 ? shares[Math.floor(identifier / 100) - 1] : undefined }

interface Known { connected: boolean, filters: string[] }

export function generate (seed: number): History {
  const random = new Random(seed)
  const clients = random.int(2, 5)
  const people = random.int(Math.min(2, clients), clients)
  const users = Array.from({ length: clients }, (_, i) => i < people ? i : random.int(0, people - 1))
  const maker = new Maker(random, users, people)
  const actions: Action[] = users.map((_, client) => maker.connect(client))
  for (let i = random.int(1, clients + 2); i > 0; i--) actions.push(maker.subscribe(random.int(0, clients - 1)))
  for (let i = random.int(10, 45); i > 0; i--) actions.push(maker.any())
  return { seed, users, actions }
}

class Maker {
  readonly #random: Random
  readonly #users: number[]
  readonly #people: number
  readonly #known: Known[]
  /** What the history is about. */
  readonly #weights: { ordinary: number, shared: number, chat: number }

  constructor (random: Random, users: number[], people: number) {
    this.#random = random
    this.#users = users
    this.#people = people
    this.#known = users.map(() => ({ connected: false, filters: [] }))
    this.#weights = random.pick([
      { ordinary: 1, shared: 0, chat: 0 }, { ordinary: 0, shared: 1, chat: 0 }, { ordinary: 0, shared: 0, chat: 1 }, { ordinary: 2, shared: 2, chat: 2 }, { ordinary: 3, shared: 1, chat: 2 }
    ])
  }

  any (): Action {
    const random = this.#random
    const client = random.int(0, this.#users.length - 1)
    const known = this.#known[client] as Known
    if (!known.connected) return random.chance(0.4) ? this.connect(client) : this.#publish(this.#connected() ?? client)
    const kind = random.weighted({ publish: 40, subscribe: 9, unsubscribe: 4, acknowledge: 12, hold: 6, finish: 4, cut: 9, disconnect: 3, connect: 3, settle: 5 })
    switch (kind) {
      case 'publish': return this.#publish(client)
      case 'subscribe': return this.subscribe(client)
      case 'unsubscribe': return { kind, client, filters: [known.filters.length > 0 ? random.pick(known.filters) : this.#filter(client)] }
      case 'acknowledge': return { kind, client, at: random.weighted({ first: 5, all: 2, some: 4 }) === 'first' ? 0 : random.int(-1, 4) }
      case 'hold': return { kind, client, hold: random.chance(0.6) }
      case 'connect': return this.connect(client)
      case 'settle': return { kind }
      case 'finish': return { kind, client }
      case 'cut': case 'disconnect':
        known.connected = false
        return kind === 'cut' ? { kind, client } : { kind, client, end: random.chance(0.25) }
    }
  }

  #connected (): number | undefined {
    const connected = this.#known.flatMap(({ connected }, i) => connected ? [i] : [])
    return connected.length > 0 ? this.#random.pick(connected) : undefined
  }

  connect (client: number): Connecting {
    const random = this.#random
    const known = this.#known[client] as Known
    known.connected = true
    const clean = random.chance(0.2)
    if (clean) known.filters = []
    return {
      kind: 'connect',
      client,
      clean,
      keep: random.chance(0.7),
      receiveMaximum: random.chance(0.3) ? 65_535 : random.int(1, 6),
      aliasMaximum: random.chance(0.4) ? 0 : random.int(1, 4),
      maximumPacketSize: random.chance(0.75) ? 0 : random.int(120, 700),
      hold: random.chance(0.35)
    }
  }

  #subject (): 'ordinary' | 'shared' | 'chat' { return this.#random.weighted(this.#weights) }

  #filter (client: number): string {
    const random = this.#random
    const user = `{u${this.#users[client]}}`
    switch (this.#subject()) {
      case 'ordinary': return random.pick(filters)
      case 'shared': return random.chance(0.15) ? random.pick(['{root}/s/+', '{root}/#']) : random.pick(shares)
      case 'chat': return random.pick([`im/u/${user}/inbox`, `im/u/${user}/inbox`, `im/u/${user}/#`, `im/u/${user}/+`, 'im/g/{g}', 'im/g/+'])
    }
  }

  subscribe (client: number): Action {
    const random = this.#random
    const first = this.#filter(client)
    const share = shares.indexOf(first as typeof shares[number])
    const all = [first]
    // A shared one is alone: its identifier tells which.
    if (share === -1) {
      for (let more = random.int(-2, 2); more > 0; more--) all.push(this.#filter(client))
    }
    const wanted = [...new Set(all.filter((filter, i) => i === 0 || !filter.startsWith('$share')))].map(filter => this.#wanted(filter))
    const known = this.#known[client] as Known
    known.filters = [...new Set([...known.filters, ...wanted.map(({ filter }) => filter)])]
    const identifier = share >= 0 ? 100 * (share + 1) + random.int(0, 9) : random.chance(0.3) ? 0 : random.int(1, 20)
    return { kind: 'subscribe', client, wanted, identifier }
  }

  #wanted (filter: string): Wanted {
    const random = this.#random
    return {
      filter,
      qos: random.pick([0, 1, 1, 2, 2] as const),
      nl: !filter.startsWith('$share') && random.chance(0.2),
      rap: random.chance(0.3),
      rh: random.pick([0, 0, 1, 2] as const)
    }
  }

  #publish (client: number): Action {
    const random = this.#random
    const same = random.chance(0.6)
    const first = this.#message(client)
    const count = random.chance(0.5) ? 1 : random.int(2, 8)
    const messages = [first, ...Array.from({ length: count - 1 }, () => same ? { ...this.#message(client), topic: first.topic, qos: first.qos, retain: first.retain } : this.#message(client))]
    return { kind: 'publish', client, messages, until: random.weighted({ done: 8, pubrec: 1, sent: 1.5 }) }
  }

  #message (client: number): Outgoing {
    const random = this.#random
    const topic = this.#topic(client)
    return {
      topic,
      qos: random.pick([0, 1, 1, 1, 2, 2] as Qos[]),
      bytes: random.chance(0.7) ? random.int(8, 40) : random.int(40, 700),
      retain: topic === '{root}/r',
      alias: random.chance(0.6) ? 0 : random.int(1, 3),
      expiry: random.chance(0.85) ? 0 : random.int(100, 1000)
    }
  }

  #topic (client: number): string {
    const random = this.#random
    switch (this.#subject()) {
      case 'ordinary': return random.chance(0.12) ? '{root}/r' : random.pick(topics)
      case 'shared': return random.pick(sharedTopics)
      // Nobody writes to himself.
      case 'chat': return random.chance(0.4) ? 'im/to/g/{g}' : `im/to/u/{u${((this.#users[client] as number) + random.int(1, this.#people - 1)) % this.#people}}`
    }
  }
}
