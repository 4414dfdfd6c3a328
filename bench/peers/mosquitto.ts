/** Mosquitto, in memory. The configuration lifts the limits that would make it drop messages of the bench. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerProcess, find, freePort } from './process.ts'
import { plainTopics } from './peer.ts'
import type { Peer, RunningPeer } from './peer.ts'
import { opensslMissing, serverCertificate, type ServerCertificate } from './certificate.ts'

/** Starts it in `folder`. `tls`: one more listener, with TLS. */
async function startMosquitto (folder: string, cpu: string | undefined, tls?: ServerCertificate): Promise<RunningPeer> {
  const [port, wsPort, tlsPort] = [await freePort(), await freePort(), await freePort()]
  const config = join(folder, 'mosquitto.conf')
  writeFileSync(config, [
    `listener ${port} 127.0.0.1`,
    // Of 2.0.11's WebSocket listener: an address is ignored and all interfaces are bound; the interface's name works.
    `listener ${wsPort} lo`,
    'protocol websockets',
    ...tls === undefined ? [] : [`listener ${tlsPort} 127.0.0.1`, `certfile ${tls.certFile}`, `keyfile ${tls.keyFile}`],
    'allow_anonymous true',
    'persistence false',
    // Unlimited: the default of 1,000 queued messages would drop what the generator publishes.
    'max_queued_messages 0',
    // 64 is Sabethes' window.
    'max_inflight_messages 64',
    // Without it Nagle's algorithm holds back small packets.
    'set_tcp_nodelay true',
    'log_dest none',
    // As root Mosquitto would change to a user that may not exist.
    ...(process.getuid?.() === 0 ? ['user root'] : [])
  ].join('\n') + '\n')
  const broker = BrokerProcess.start([find('mosquitto') as string, '-c', config], folder, cpu)
  const startMs = await broker.listening(port)
  await broker.listening(wsPort)
  if (tls !== undefined) await broker.listening(tlsPort)
  return { port, wsPort, ...tls !== undefined && { tlsPort }, process: broker, startMs, stop: () => broker.stop() }
}

export const mosquitto: Peer = {
  ...plainTopics,
  name: 'mosquitto',
  durable: false,
  missing () {
    return find('mosquitto') === undefined ? 'mosquitto is not installed (apt-get install mosquitto)' : undefined
  },
  start ({ cpu }) { return startMosquitto(BrokerProcess.folder(), cpu) }
}

/** The same with a listener for TLS. */
export const mosquittoTls: Peer = {
  ...mosquitto,
  name: 'mosquitto-tls',
  missing () { return mosquitto.missing() ?? opensslMissing() },
  start ({ cpu }) {
    const folder = BrokerProcess.folder()
    return startMosquitto(folder, cpu, serverCertificate(folder))
  }
}
