/** What the scenarios of ordinary topics share. */
import type { Connection } from '../connection.ts'
import { withoutPlain } from './scenario.ts'

const windowMessages = 1000

/** They have their own peer, on which these topics are open; of the others mosquitto alone keeps all of it. */
export function withoutOthers (): Record<string, string> {
  const { mosquitto: _, ...plain } = withoutPlain('it has bounds of its own for what it keeps')
  return { ...plain, sabethes: 'ordinary topics are closed there', 'sabethes-thread': 'ordinary topics are closed there' }
}

/** Publishes `count` packets at QoS 1 and waits for all PUBACKs; `watch` is called now and then. Answers the seconds. */
export async function publishEach (connection: Connection, count: number, packetOf: (index: number, packetId: number) => Buffer, watch: () => void): Promise<number> {
  const start = performance.now()
  let [sent, answered] = [0, 0]
  await new Promise<void>((resolve, reject) => {
    connection.onLost = reason => { reject(new Error(`the publisher lost its connection: ${reason}`)) }
    const more = (): void => {
      const parts: Buffer[] = []
      while (sent < count && sent - answered < windowMessages) parts.push(packetOf(sent, sent++ % 65_535 + 1))
      if (parts.length > 0) connection.write(Buffer.concat(parts))
    }
    connection.onPuback = () => {
      if (++answered % 5000 === 0) watch()
      if (answered === count) resolve()
    }
    connection.onRead = more
    more()
  })
  connection.onLost = () => {}
  return (performance.now() - start) / 1000
}
