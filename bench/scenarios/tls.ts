/** `pairs` over TLS beside TCP. */
import { mosquittoTls } from '../peers/mosquitto.ts'
import { sabethesTls } from '../peers/sabethes.ts'
import { pairs } from './pairs.ts'
import type { Scenario } from './scenario.ts'

export const tls: Scenario = {
  name: 'tls',
  headline: pairs.headline,
  better: pairs.better,
  reference: 'mosquitto-tls',
  extra: [sabethesTls, mosquittoTls],
  describe: s => `${pairs.describe(s)}, to peers whose name ends in -tls over TLS`,
  run: (peer, running, settings) => pairs.run(peer, { ...running, port: running.tlsPort ?? running.port }, { ...settings, tls: running.tlsPort !== undefined })
}
