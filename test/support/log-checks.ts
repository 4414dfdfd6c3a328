/** What holds of the logs that several servers have written, whatever failed between them. */
import type { Test } from 'tap'
import type { NewMessage, Outcome, Store } from '../../broker/store/store.ts'

export interface Sent { op: NewMessage, outcome: Outcome }

/** `sent`: what was answered, by server, in the order of its commits. `open`: messages of commits that failed; they may be stored or not. */
export async function checkLogs (t: Test, store: Store, convs: readonly string[], sent: ReadonlyArray<readonly Sent[]>, open: ReadonlySet<string> = new Set()): Promise<void> {
  for (const conv of convs) {
    const log = await store.messages(conv, { limit: 1e6 })
    t.same(log.map(m => m.seq), log.map((_, i) => i + 1), `${conv}: numbers without gaps`)
    t.equal(new Set(log.map(m => m.id)).size, log.length, 'no message twice')
    let n = 0
    t.ok(log.every(m => m.n === (n += m.counts ? 1 : 0)), 'n counts')
    const at = new Map(log.map(m => [m.seq, m.id]))
    const answers = sent.map(some => some.filter(({ op }) => op.conv === conv))
    for (const here of answers) {
      t.ok(here.every(({ outcome }) => at.get(outcome.seq) === outcome.id), 'each answer names the stored message')
      const own = here.filter(({ outcome }) => !outcome.replay).map(({ outcome }) => outcome.seq)
      t.same(own, [...own].sort((a, b) => a - b), 'in the order of arrival')
    }
    const fresh = answers.flat().filter(({ outcome }) => !outcome.replay).map(({ outcome }) => outcome.id)
    t.equal(new Set(fresh).size, fresh.length, 'none is new twice')
    t.same(log.map(m => m.id).filter(id => !fresh.includes(id) && !open.has(id)), [], 'each stored message was answered as new')
    const head = (await store.heads([conv]))[0]
    t.match(head, log.length === 0 ? undefined : { seq: log.length, n })
  }
}
