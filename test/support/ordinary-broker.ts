/** A server for general MQTT tests: the one at `SABETHES_TEST_URL` (`mqtt://127.0.0.1:1883`, every topic open), or one made here. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Aedes } from 'aedes'
import type { Test } from 'tap'
import { grantedQos } from './granted-qos.ts'
import { recordsPersistence, sessionMarker } from '../../broker/ordinary/persistence.ts'
import type { PersistenceOptions, RecordsPersistence } from '../../broker/ordinary/persistence.ts'
import { OpenTopics } from '../../broker/gateway/open-topics.ts'
import { startServer } from './server.ts'
import { levelRecords } from './ordinary-records.ts'

export interface Ordinary {
  readonly port: number
  close (): Promise<void>
  /** Stops and starts it on the same data; the port changes. Absent for a server that was given. */
  restart?: () => Promise<void>
}

/** Aedes on a TCP port with the ordinary topics' persistence on `path`. */
export async function ordinaryBroker (path: string, limits: Partial<PersistenceOptions> = {}): Promise<{ port: number, persistence: RecordsPersistence, close (): Promise<void> }> {
  const records = await levelRecords(path)
  const persistence = recordsPersistence({ records, offlineQueue: 1000, offlineQueueBytes: 1_000_000, offlineBytes: 10_000_000, retained: 1000, retainedBytes: 1_000_000, markSessions: true, ...limits })
  const open = new OpenTopics(['#', '$test/#'], 'im').of('', '')
  const broker = await Aedes.createBroker({
    persistence,
    concurrency: 0,
    topicAliasMaximum: 10,
    maximumPacketSize: 1_000_000,
    keepaliveLimit: 60,
    authorizePublish: (client, packet, done) => {
      if (!open.mayPublish(packet.topic)) return done(new Error('not open'))
      const written = persistence.prepare(client, packet as Parameters<RecordsPersistence['prepare']>[1])
      if (written === undefined) done(null)
      else written.then(() => { done(null) }, done)
    },
    authorizeSubscribe: (_client, subscription, done) => {
      done(null, subscription.topic !== sessionMarker && open.maySubscribe(subscription.topic) ? subscription : null)
    },
    authorizeForward: (client, packet) => {
      const granted = grantedQos(client as unknown as Parameters<typeof grantedQos>[0], packet.topic)
      if (granted !== undefined && granted < packet.qos) packet.qos = granted
      return packet
    }
  })
  const server = createServer({ noDelay: true }, socket => { broker.handle(socket) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    persistence,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      await new Promise<void>(resolve => { broker.close(() => { resolve() }) })
      await closed
      await persistence.destroy()
      await records.close()
    }
  }
}

/** Sabethes itself with every ordinary topic open. Ends with the test. */
export async function startOrdinary (t: Test): Promise<Ordinary> {
  const given = process.env['SABETHES_TEST_URL']
  if (given !== undefined) return { port: Number(new URL(given).port), close: async () => {} }
  const server = await startServer(t, { config: { mqtt: { openTopics: ['#', '$test/#'], limits: { keepAliveMaxSeconds: 60 } } } })
  return {
    port: server.mqttPort,
    close: async () => { await server.stop() },
    restart: async () => {
      await server.stop()
      await server.restart()
    }
  }
}
