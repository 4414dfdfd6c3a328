/** Sabethes with every ordinary topic open, and room there for what a scenario keeps. */
import { join } from 'node:path'
import type { Peer } from './peer.ts'
import { plainTopics } from './peer.ts'
import { BrokerProcess } from './process.ts'
import { sabethes, startSabethes } from './sabethes.ts'

const environment = {
  SABETHES_MQTT__OPEN_TOPICS: '#',
  SABETHES_MQTT__LIMITS__RETAINED: '10000000',
  SABETHES_MQTT__LIMITS__RETAINED_BYTES: '10000000000',
  SABETHES_MQTT__LIMITS__OFFLINE_QUEUE: '10000000',
  SABETHES_MQTT__LIMITS__OFFLINE_QUEUE_BYTES: '10000000000',
  SABETHES_MQTT__LIMITS__OFFLINE_BYTES: '10000000000'
}

/** With a million retained messages. */
const startTimeoutMs = 120_000

export const sabethesOrdinary: Peer = {
  ...sabethes,
  ...plainTopics,
  name: 'sabethes-ordinary',
  async start ({ cpu }) {
    const folder = BrokerProcess.folder()
    const start = () => startSabethes(folder, join(folder, 'data'), cpu, environment, startTimeoutMs)
    let current = await start()
    return {
      get port () { return current.port },
      get wsPort () { return current.wsPort },
      get process () { return current.process },
      get startMs () { return current.startMs },
      restart: async () => {
        await current.process.end()
        current = await start()
        return current.startMs
      },
      stop: () => current.stop()
    }
  }
}
