/** Queues that run until they are empty: what comes at the very end of a run is not left behind. */
import { pino } from 'pino'
import t from 'tap'
import { GroupCommit } from '../../broker/cluster/group-commit.ts'
import { Outbox } from '../../broker/cluster/outputs.ts'
import type { Operation, Outcome } from '../../broker/store/store.ts'
import type { Output } from '../../broker/link/port.ts'

const drop = (gid: string): Operation => ({ op: 'group.drop', gid })

/** As late as `turns` steps of promises after `work`. */
async function after (work: Promise<unknown>, turns: number): Promise<void> {
  await work
  for (let i = 0; i < turns; i++) await Promise.resolve()
}

await t.test('a commit that comes while the run before it ends', async t => {
  for (let turns = 0; turns < 8; turns++) {
    const committed: string[] = []
    const queue = new GroupCommit({
      steady: () => 0,
      commit: operations => {
        committed.push(...operations.map(op => 'gid' in op ? String(op.gid) : op.op))
        return Promise.resolve(operations.map((): Outcome => ({}) as Outcome))
      }
    })
    await after(queue.commit([drop('a')]), turns)
    const second = queue.commit([drop('b')])
    await queue.settled()
    t.same(committed, ['a', 'b'], `${turns} steps later`)
    await second
  }
})

await t.test('an output that comes while the run before it ends', async t => {
  for (let turns = 0; turns < 12; turns++) {
    const told: unknown[] = []
    const interest = { wanted: (servers: readonly string[], keys: readonly string[]) => Promise.resolve(new Map(servers.map(server => [server, new Set(keys)]))) }
    let done: (() => void) | undefined
    const first = new Promise<void>(resolve => { done = resolve })
    const link = {
      isAlone: false,
      others: ['b'],
      tell: (_node: string, _kind: string, items: unknown[]) => {
        told.push(...items.map(item => (item as { gid: string }).gid))
        done?.()
      },
      lost: () => {}
    }
    const outbox = new Outbox({ link: link as never, interest: interest as never, maxBytes: 1_000_000, log: pino({ level: 'silent' }) })
    outbox.push([{ kind: 'members', gid: 'a', added: [], removed: [] } as unknown as Output])
    await after(first, turns)
    outbox.push([{ kind: 'members', gid: 'b', added: [], removed: [] } as unknown as Output])
    await outbox.settled()
    t.same(told, ['a', 'b'], `${turns} steps later`)
  }
})
