/**
 * The chaos checker: it stands outside the server, is told what was sent, acknowledged and received, and says what is
 * wrong. A body is a send's identity: the load makes every body unique.
 */

export interface Seen {
  conv: string
  seq: number
  id: string
  from: string
  body: string
  /** Written by the server (a group's `system` messages): it has a number and no sender. */
  system?: boolean
}

interface Sent { from: string, conv: string, order: number, acknowledged: boolean, mayRepeat: boolean }
interface DeviceLog { user: string, epoch: number, byConv: Map<string, Array<Seen & { epoch: number }>> }

export interface Findings {
  /** Acknowledged, and not received by a device that should have it. */
  lost: string[]
  /** One body under two ids or numbers, one number with two messages, or a packet twice within one connection. */
  duplicates: string[]
  /** Numbers that went back on a device, or against the order in which one sender sent. */
  reordered: string[]
  /** Received by somebody who is no member, or under another sender's name. */
  wrongRecipient: string[]
  /** Numbers missing between 1 and the highest of a conversation. */
  gaps: string[]
}

export class Checker {
  readonly #sent = new Map<string, Sent>()
  readonly #members = new Map<string, Set<string>>()
  readonly #firstSeq = new Map<string, number>()
  readonly #devices = new Map<string, DeviceLog>()

  /** `firstSeq`: the highest number at which a member's view may begin (2 when the group's founding is message 1). */
  conversation (conv: string, members: readonly string[], firstSeq = 1): void {
    this.#members.set(conv, new Set(members))
    this.#firstSeq.set(conv, firstSeq)
  }

  device (name: string, user: string): void { this.#devices.set(name, { user, epoch: 0, byConv: new Map() }) }
  /** The device has a new connection: a packet may come again. */
  reconnected (name: string): void { this.#log(name).epoch++ }
  sent (from: string, conv: string, body: string): void {
    if (!this.#sent.has(body)) this.#sent.set(body, { from, conv, order: this.#sent.size, acknowledged: false, mayRepeat: false })
  }

  /** It may be stored more than once: it has no cid, and a connection came between its first try and the one that is acknowledged (ADR 4). */
  mayRepeat (body: string): void {
    const sent = this.#sent.get(body)
    if (sent !== undefined) sent.mayRepeat = true
  }

  acknowledged (body: string): void {
    const sent = this.#sent.get(body)
    if (sent === undefined) throw new Error(`acknowledged, but never sent: ${body}`)
    sent.acknowledged = true
  }

  received (name: string, seen: Seen): void {
    const log = this.#log(name)
    const list = log.byConv.get(seen.conv) ?? []
    list.push({ ...seen, epoch: log.epoch })
    log.byConv.set(seen.conv, list)
  }

  conversations (): IterableIterator<string> { return this.#members.keys() }

  /** What was sent to a conversation, in the order of sending. */
  sentTo (conv: string): Array<{ from: string, body: string, acknowledged: boolean }> {
    return [...this.#sent].filter(([, sent]) => sent.conv === conv).map(([body, { from, acknowledged }]) => ({ from, body, acknowledged }))
  }

  get sentCount (): number { return this.#sent.size }
  get acknowledgedCount (): number { return [...this.#sent.values()].filter(one => one.acknowledged).length }
  /** How many different messages the device received. */
  receivedCount (name: string): number {
    let count = 0
    for (const list of this.#log(name).byConv.values()) count += new Set(list.map(one => one.id)).size
    return count
  }

  /** How many acknowledged messages are missing on some device; for waiting until all is there. */
  missing (): number { return this.#lost().length }

  findings (): Findings {
    const out: Findings = { lost: this.#lost(), duplicates: [], reordered: [], wrongRecipient: [], gaps: [] }
    const idOf = new Map<string, string>()
    const bodyAt = new Map<string, string>()
    for (const [name, log] of this.#devices) {
      for (const [conv, list] of log.byConv) {
        const at = `${name} in ${conv}`
        if (this.#members.get(conv)?.has(log.user) !== true) out.wrongRecipient.push(`${at}: ${log.user} is no member`)
        this.#readDevice(at, list, out, this.#firstSeq.get(conv) ?? 1)
        for (const seen of list) if (seen.system !== true) this.#readMessage(at, seen, idOf, bodyAt, out)
      }
    }
    return out
  }

  #readDevice (at: string, list: Array<Seen & { epoch: number }>, out: Findings, firstSeq: number): void {
    const start = Math.min(list[0]?.seq ?? 1, firstSeq)
    let [highest, last, epoch] = [start - 1, 0, -1]
    const seqs = new Set<number>()
    for (const seen of list) {
      if (seen.epoch !== epoch) [epoch, last] = [seen.epoch, 0]
      if (seen.seq === last) out.duplicates.push(`${at}: ${seen.seq} twice within a connection`)
      if (seen.seq < last) out.reordered.push(`${at}: ${seen.seq} after ${last}`)
      if (seen.seq > highest + 1) out.reordered.push(`${at}: ${seen.seq} first came after ${highest}`)
      last = seen.seq
      highest = Math.max(highest, seen.seq)
      seqs.add(seen.seq)
    }
    for (let seq = start; seq <= highest; seq++) if (!seqs.has(seq)) out.gaps.push(`${at}: ${seq} is missing of ${highest}`)
    const bySender = new Map<string, number>()
    const repeatable = new Set<string>()
    for (const seen of new Map(list.map(one => [one.seq, one])).values()) {
      if (seen.system === true) continue
      const sent = this.#sent.get(seen.body)
      if (sent?.mayRepeat === true) {
        // Its place is that of the first one.
        if (repeatable.has(seen.body)) continue
        repeatable.add(seen.body)
      }
      const order = sent?.order ?? -1
      if (order < (bySender.get(seen.from) ?? -1)) out.reordered.push(`${at}: ${seen.body} of ${seen.from} came after a later one`)
      bySender.set(seen.from, Math.max(order, bySender.get(seen.from) ?? -1))
    }
  }

  #readMessage (at: string, seen: Seen, idOf: Map<string, string>, bodyAt: Map<string, string>, out: Findings): void {
    const sent = this.#sent.get(seen.body)
    if (sent === undefined || sent.conv !== seen.conv || sent.from !== seen.from) {
      out.wrongRecipient.push(`${at}: ${seen.body} of ${seen.from} was ${sent === undefined ? 'never sent' : `sent by ${sent.from} to ${sent.conv}`}`)
      return
    }
    const identity = `${seen.id} ${seen.seq}`
    const first = idOf.get(seen.body) ?? identity
    if (first !== identity && !sent.mayRepeat) out.duplicates.push(`${at}: ${seen.body} as ${first} and as ${identity}`)
    idOf.set(seen.body, first)
    const place = `${seen.conv} ${seen.seq}`
    const body = bodyAt.get(place) ?? seen.body
    if (body !== seen.body) out.duplicates.push(`${at}: number ${seen.seq} is '${body}' and '${seen.body}'`)
    bodyAt.set(place, body)
  }

  #lost (): string[] {
    const lost: string[] = []
    const bodies = new Map([...this.#devices].map(([name, log]) => [name, new Set([...log.byConv.values()].flat().map(one => one.body))]))
    for (const [body, sent] of this.#sent) {
      if (!sent.acknowledged) continue
      for (const [name, log] of this.#devices) {
        if (this.#members.get(sent.conv)?.has(log.user) === true && bodies.get(name)?.has(body) !== true) lost.push(`${name}: ${body}`)
      }
    }
    return lost
  }

  #log (name: string): DeviceLog {
    const log = this.#devices.get(name)
    if (log === undefined) throw new Error(`no such device: ${name}`)
    return log
  }
}
