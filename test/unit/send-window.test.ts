/** What chat and ordinary topics may have under way, together: against a model that counts. */
import t from 'tap'
import { SendWindow } from '../../broker/gateway/connection/send-window.ts'
import { Window } from '../../broker/gateway/delivery/window.ts'
import type { Stream } from '../../broker/gateway/delivery/stream.ts'

/** A window of chat, and the ordinary one beside it, as a session has them. */
function windows (chatMost: number, inflight: number, both: number, session: { behindCount: number, catchUp: () => void }): { chat: Window, ordinary: SendWindow } {
  const chat = new Window(chatMost)
  const ordinary = new SendWindow({
    get inflight () { return chat.count },
    capacity: chat.capacity,
    get sent () { return chat.added },
    get behindCount () { return session.behindCount },
    lend: entries => { chat.lent = entries },
    catchUp: () => { session.catchUp() }
  }, inflight, both)
  return { chat, ordinary }
}

await t.test('never more than the Receive Maximum, and no place is lost', async t => {
  let seed = 7
  const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
  for (let round = 0; round < 300; round++) {
    const both = 1 + random(12)
    const inflight = 1 + random(8)
    const stream = { id: 'd:a:b', inflight: 0 } as Stream
    let woken = 0
    const { chat, ordinary } = windows(Math.min(inflight, both), inflight, both, { behindCount: 0, catchUp: () => { woken++ } })
    const sent: number[] = []
    let [seq, taken] = [0, 0]
    for (let step = 0; step < 60; step++) {
      const before = chat.free
      switch (random(4)) {
        case 0: if (chat.free > 0) { chat.add(stream, ++seq, 0); sent.push(seq) } break
        case 1: if (ordinary.room) { ordinary.take(); taken++ } break
        case 2: { const one = sent.shift(); if (one !== undefined) chat.acknowledge(stream.id, one, () => {}) } break
        default: if (taken > 0) {
          woken = 0
          taken--
          ordinary.give()
          if (chat.free > before) t.equal(woken, 1, 'chat hears of the room')
        }
      }
      if (chat.count + taken > both) t.fail(`${chat.count} + ${taken} of ${both}`)
      if (chat.free < 0) t.fail(`${chat.free} places are free`)
      t.equal(chat.free > 0, chat.count < chat.capacity && chat.count + taken < both, 'chat has room when there is some')
      t.equal(ordinary.room, taken < inflight && chat.count + taken < both)
    }
  }
})

await t.test('both have their turns while both have a backlog, also when chat takes its time', async t => {
  for (const both of [1, 2, 3]) {
    const stream = { id: 'd:a:b', inflight: 0 } as Stream
    const session = { behindCount: 1, catchUp: () => {} }
    const { chat, ordinary } = windows(both, 64, both, session)
    let [seq, sent, taken] = [0, 0, 0]
    const unacknowledged: Array<'chat' | 'ordinary'> = []
    const order: string[] = []
    const sendOrdinary = (): void => {
      while (ordinary.room) {
        ordinary.take()
        taken++
        unacknowledged.push('ordinary')
        order.push('o')
      }
    }
    const sendChat = (): void => {
      while (chat.free > 0) {
        chat.add(stream, ++seq, 0)
        unacknowledged.push('chat')
        order.push('c')
      }
    }
    sendOrdinary()
    for (let step = 0; step < 12; step++) {
      if (unacknowledged.shift() === 'ordinary') {
        ordinary.give()
        taken--
      } else chat.acknowledge(stream.id, ++sent, () => {})
      // Ordinary topics are there at once, chat has read its log a moment later.
      sendOrdinary()
      sendChat()
      t.ok(chat.count + taken <= both)
    }
    t.ok(order.slice(both).filter(one => one === 'c').length >= 4 && order.slice(both).filter(one => one === 'o').length >= 4, order.join(''))
    while (unacknowledged.shift() === 'chat') chat.acknowledge(stream.id, ++sent, () => {})
    ordinary.give()
    session.behindCount = 0
    t.ok(ordinary.room, 'what chat has no use for is free')
  }
})
