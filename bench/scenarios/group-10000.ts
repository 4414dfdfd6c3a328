/** `fanout` in a group of which most members are away: what absent members cost. */
import { fanOut } from './fanout.ts'
import type { Scenario } from './scenario.ts'

export const group10000: Scenario = {
  name: 'group-10000',
  headline: 'deliveries_per_s',
  better: 'higher',
  describe: s => `a group of ${s.largeMembers} members, ${s.online} of them online (a plain broker: ${s.online} subscribers), one sender, ${s.window} messages under way, ${s.payloadBytes} B ${s.body}`,
  run: (peer, running, settings) => fanOut(peer, running, settings, settings.largeMembers, settings.online)
}
