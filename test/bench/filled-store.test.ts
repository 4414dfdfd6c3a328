import { join } from 'node:path'
import t from 'tap'
import { conversationsOf, copyStore, filledStore, messagesOf, usersOf } from '../../bench/peers/filled-store.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'

const count = 2600

await t.test('messages of all conversations make up the number', async t => {
  for (const stored of [1, 250, 251, count, 5001]) {
    const sizes = Array.from({ length: conversationsOf(stored) }, (_, index) => messagesOf(index, stored))
    t.equal(sizes.reduce((a, b) => a + b, 0), stored)
    t.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
  }
})

await t.test('filled once; a copy is a store of its own', async t => {
  const path = await filledStore(count)
  t.equal(await filledStore(count), path)
  const folder = t.testdir()
  const convs = Array.from({ length: conversationsOf(count) }, (_, index) => `d:${usersOf(index).join(':')}`)
  for (const round of [1, 2]) {
    const copy = join(folder, String(round))
    copyStore(path, copy)
    const store = await openLevelStore({ path: copy })
    const heads = await store.heads(convs)
    t.same(heads.map(head => head?.seq), convs.map((_, index) => messagesOf(index, count)), `round ${round} begins with what was filled in`)
    t.equal((await store.messages(convs[3] as string, { limit: 1000 })).length, messagesOf(3, count))
    t.equal((await store.member(usersOf(3)[0], convs[3] as string))?.readSeq, messagesOf(3, count), 'the sender has read its own')
    await store.commit([{ op: 'message', conv: convs[3] as string, from: usersOf(3)[0], id: 'new', ts: Date.now(), counts: true, marksSender: true, content: '"id":"new"' }])
    await store.close()
  }
})
