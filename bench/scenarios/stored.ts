/** `pairs` on a store with millions of messages, beside an empty one: whether a server grows slow with what it keeps. */
import { Connection } from '../connection.ts'
import { conversationsOf, messagesOf, usersOf } from '../peers/filled-store.ts'
import { request } from '../peers/rpc.ts'
import { sabethesStored } from '../peers/sabethes.ts'
import { pairs } from './pairs.ts'
import { withoutPlain } from './scenario.ts'
import type { Scenario } from './scenario.ts'

const inMemory = 'it keeps no message that was delivered'

/** Conversations whose number of messages is asked. */
const samples = 20

/** What is missing of the messages that were there before; `undefined` when nothing is. */
async function missing (port: number, stored: number): Promise<string | undefined> {
  const conversations = conversationsOf(stored)
  for (let sample = 0; sample < Math.min(samples, conversations); sample++) {
    const index = Math.floor(sample * conversations / samples) % conversations
    const [user, other] = usersOf(index)
    const connection = await Connection.open({ port, user })
    try {
      const { head, messages } = await request(connection, 'messages.history', { with: other, limit: 50 }) as { head: number, messages: unknown[] }
      const expected = messagesOf(index, stored)
      if (head !== expected || messages.length !== Math.min(50, expected)) return `${user} has ${head} stored messages (${messages.length} on a page), not ${expected}`
    } finally {
      await connection.close()
    }
  }
  return undefined
}

export const stored: Scenario = {
  name: 'stored',
  headline: pairs.headline,
  better: pairs.better,
  reference: 'sabethes',
  extra: [sabethesStored],
  without: withoutPlain(inMemory),
  describe: s => `${pairs.describe(s)}; sabethes-stored began with ${s.stored.toLocaleString('en-US')} messages in its store, sabethes with none`,
  async run (peer, running, settings) {
    const result = await pairs.run(peer, running, settings)
    if (peer.name !== sabethesStored.name || result.fault !== undefined) return result
    const fault = await missing(running.port, settings.stored)
    return fault === undefined ? result : { ...result, fault }
  }
}
