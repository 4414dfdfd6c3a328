/** nats-server speaking MQTT, messages and sessions in JetStream's files: `nats` syncs each write, `nats-lazy` every two minutes, as shipped. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { goProgram, missingGo, unbuilt } from './go-programs.ts'
import { BrokerProcess, freePort } from './process.ts'
import { plainTopics } from './peer.ts'
import type { Peer } from './peer.ts'

function natsWith (name: string, durable: boolean, jetstream: readonly string[]): Peer {
  return {
    ...plainTopics,
    name,
    durable,
    missing: missingGo,
    prepare: () => unbuilt('nats'),
    async start ({ cpu }) {
      const program = await goProgram('nats')
      const [port, wsPort] = [await freePort(), await freePort()]
      const folder = BrokerProcess.folder()
      const config = join(folder, 'nats.conf')
      writeFileSync(config, [
        // MQTT needs a name that stays.
        'server_name: bench',
        // Of NATS' own protocol, which nobody speaks here.
        'listen: "127.0.0.1:-1"',
        'jetstream {',
        `  store_dir: ${JSON.stringify(join(folder, 'jetstream'))}`,
        // Each subscription is a consumer of one stream: the default refuses the 1,001st.
        '  limits { default_max_consumers: -1 }',
        ...jetstream,
        '}',
        'mqtt {',
        `  listen: "127.0.0.1:${port}"`,
        // 64 is Sabethes' window.
        '  max_ack_pending: 64',
        // It would send again to a connection that has not acknowledged in time, which MQTT forbids and receivers count as a fault.
        '  ack_wait: "1h"',
        '}',
        `websocket { listen: "127.0.0.1:${wsPort}", no_tls: true }`
      ].join('\n') + '\n')
      const broker = BrokerProcess.start([program, '-c', config], folder, cpu)
      const startMs = await broker.listening(port)
      await broker.listening(wsPort)
      return { port, wsPort, process: broker, startMs, stop: () => broker.stop() }
    }
  }
}

export const nats = natsWith('nats', true, ['  sync_interval: always'])
export const natsLazy = natsWith('nats-lazy', false, [])
