/** The process dies at any moment (`kill -9`): every acknowledged message is there, and all that is derived from it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'

const convs = ['d:a:b', 'd:a:c', 'g:dev']
const self = fileURLToPath(import.meta.url)

if (process.argv[2] === 'child') await child(process.argv[3] as string, process.argv[4] as string)
else await parent()

/** Commits without pause and prints what was acknowledged: `conv seq id end`. */
async function child (path: string, round: string): Promise<void> {
  const store = await openLevelStore({ path, writeBufferBytes: 64 * 1024 })
  for (let i = 0; ; i++) {
    const ops = Array.from({ length: 1 + i % 40 }, (_, j) => {
      const id = `${round}-${i}-${j}`
      return { op: 'message' as const, conv: convs[(i + j) % 3] as string, from: 'a', id, cid: id, ts: Date.now(), counts: true, marksSender: true, content: `"body":"${'x'.repeat(200)}"` }
    })
    const out = await store.commit(ops)
    process.stdout.write(out.map((o, j) => `${(ops[j] as { conv: string }).conv} ${o.seq} ${o.id} end\n`).join(''))
  }
}

async function parent (): Promise<void> {
  await t.test('eight kills', async t => {
    const path = join(t.testdir(), 'store')
    const acknowledged = new Map<string, string>()
    for (let round = 0; round < 8; round++) {
      const process_ = spawn(process.execPath, [self, 'child', path, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
      t.teardown(() => process_.kill('SIGKILL'))
      const until = acknowledged.size + 1 + Math.floor(Math.random() * 4000)
      for await (const line of createInterface({ input: process_.stdout })) {
        const [conv, seq, id, end] = line.split(' ')
        if (id === undefined || end !== 'end') continue // cut by the kill
        acknowledged.set(`${conv} ${seq}`, id)
        if (acknowledged.size >= until) process_.kill('SIGKILL')
      }
      if (process_.exitCode === null && process_.signalCode === null) await once(process_, 'exit')
      t.equal(process_.signalCode, 'SIGKILL')

      const store = await openLevelStore({ path })
      let lost = 0
      for (const [at, id] of acknowledged) {
        const [conv, seq] = at.split(' ') as [string, string]
        const [found] = await store.messagesAt([{ conv, seq: Number(seq) }])
        if (found?.id !== id) lost++
      }
      t.equal(lost, 0, `round ${round}: ${acknowledged.size} acknowledged, ${lost} lost`)
      for (const conv of convs) {
        const [head] = await store.heads([conv])
        const log = await store.messages(conv, { limit: 1e6 })
        t.equal(log.length, head?.seq, 'no gap, and the head is the last one')
        t.equal(new Set(log.map(m => m.id)).size, log.length, 'no duplicate')
        const last = log.at(-1)
        if (last === undefined || conv === 'g:dev') continue
        t.match(await store.member('a', conv), { readSeq: last.seq, readN: last.n })
        t.match(await store.commit([{ op: 'message', conv, from: 'a', id: 'again', cid: last.id, ts: 1, counts: true, marksSender: true, content: '' }]), [{ seq: last.seq, replay: true }])
      }
      await store.close()
    }
  })
}
