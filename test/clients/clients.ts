/** The clients that people use, and where they differ. docs/clients.md tells of them. */
import { c, go, java, npm, python, rust, shell } from './builds.ts'

export type Version = 3 | 5

export interface Client {
  versions: readonly Version[]
  /** Programs that must be on the PATH. */
  tools: readonly string[]
  /** Builds it when that was not done yet; the program and its first arguments. Those of the case runner follow: host, port, version of MQTT, cases. */
  program: () => Promise<string[]>
  quirks: Quirks
}

/** Where a client differs from the rest. The matrix fails when one of these is not true (any more). */
export interface Quirks {
  /** Does not tell whether the server had a session. */
  hidesSession?: readonly Version[]
  /** After the error of a refused publish its callback says that it was acknowledged. */
  acknowledgesRefused?: readonly Version[]
  /** What an MQTT 5 client makes of a packet over the server's Maximum Packet Size: sends it and learns why it is disconnected, unless: */
  tooLarge?: 'sends nothing, and tells' | 'sends nothing, and ends its connection' | 'sends nothing, and says nothing'
}

const both = [3, 5] as const

export const clients = {
  'npm mqtt 4': { versions: both, tools: ['npm'], program: () => npm('mqtt4'), quirks: { acknowledgesRefused: [5] } },
  'npm mqtt 5': { versions: both, tools: ['npm'], program: () => npm('mqtt5'), quirks: {} },
  mosquitto: {
    versions: both,
    tools: ['bash', 'mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr', 'stdbuf'],
    program: shell,
    quirks: { hidesSession: both, tooLarge: 'sends nothing, and says nothing' }
  },
  'Paho Python': { versions: both, tools: ['python3'], program: python, quirks: {} },
  'Paho Go 3': { versions: [3], tools: ['go'], program: () => go('v3'), quirks: {} },
  'Paho Go 5': { versions: [5], tools: ['go'], program: () => go('v5'), quirks: {} },
  'Paho Java': { versions: both, tools: ['javac', 'java', 'mvn'], program: () => java('paho'), quirks: {} },
  'HiveMQ Java': { versions: both, tools: ['javac', 'java', 'mvn'], program: () => java('hivemq'), quirks: { tooLarge: 'sends nothing, and tells' } },
  rumqttc: { versions: both, tools: ['cargo'], program: rust, quirks: { tooLarge: 'sends nothing, and ends its connection' } },
  'Paho C': { versions: both, tools: ['gcc'], program: c, quirks: { hidesSession: [5] } }
} as const satisfies Record<string, Client>

export type ClientName = keyof typeof clients
