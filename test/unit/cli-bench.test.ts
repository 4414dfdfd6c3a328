/** `sabethes bench` counts what a server does wrong. */
import t from 'tap'
import { desk } from '../support/cli-terminal.ts'
import { scriptedBroker } from '../support/scripted-broker.ts'
import type { Peer } from '../support/scripted-broker.ts'

interface Result { ok: boolean, delivered: number, repeated: number, refused: number, refusal?: string }

/** Runs against a server that hands each message to `deliver`, then acknowledges with `reasonCode`. */
async function against (t: { teardown (job: () => Promise<void>): void, testdir (): string }, deliver: (receiver: Peer, sender: Peer, body: string) => void, reasonCode = 0) {
  const broker = await scriptedBroker({
    publish: (peer, { payload, messageId }) => {
      deliver(broker.peers.find(one => one.filters.includes('im/u/x-r1/inbox')) as Peer, peer, payload.toString())
      peer.send({ cmd: 'puback', messageId: messageId as number, reasonCode })
    }
  })
  t.teardown(() => broker.close())
  const { code, out, err } = await desk(t.testdir()).run('bench', '--url', broker.url, '--user-prefix', 'x-', '--pairs', '1', '--seconds', '0.1', '--rate', '50', '--json')
  return { code, err, result: JSON.parse(out) as Result }
}

await t.test('a right one', async t => {
  const { code, err, result } = await against(t, (receiver, _sender, body) => { receiver.publish('im/u/x-r1/inbox', { body }) })
  t.equal(code, 0, err)
  t.match(result, { ok: true, lost: 0, repeated: 0, refused: 0 })
  t.ok(result.delivered > 0)
})

await t.test('everything twice, and what an earlier run left', async t => {
  const { code, err, result } = await against(t, (receiver, _sender, body) => {
    for (const text of ['00000000/1/xxx', body, body]) receiver.publish('im/u/x-r1/inbox', { body: text })
  })
  t.equal(code, 1)
  t.equal(result.ok, false)
  t.ok(result.delivered > 0)
  t.ok(result.repeated >= result.delivered - 1 && result.repeated <= result.delivered, 'the last repeat may come after the end')
  t.match(err, /WRONG: 0 acknowledged messages did not arrive, \d+ arrived twice/)
})

await t.test('refused', async t => {
  const refuse = (code: string) => (_receiver: Peer, sender: Peer) => { sender.publish('im/u/x-s1/notice', { kind: 'reject', code, reason: 'no' }) }
  const blocked = await against(t, refuse('blocked'), 0x87)
  t.equal(blocked.code, 1)
  t.match(blocked.result, { ok: false, delivered: 0, refusal: 'blocked: no' })
  const limited = await against(t, refuse('rate_limited'), 0x97)
  t.equal(limited.code, 0, limited.err)
  t.match(limited.result, { ok: true, refusal: 'rate_limited: no' })
})
