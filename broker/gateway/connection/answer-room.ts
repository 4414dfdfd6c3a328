import { encodeSuback, ProtocolError } from '../../mqtt/index.ts'
import { disconnectReasons } from './disconnect-reasons.ts'

/** Bytes of a SUBACK or UNSUBACK of MQTT 5 beside its codes, at most. */
const mostBeside = 8

/**
 * A SUBACK or UNSUBACK may not be larger than the client's Maximum Packet Size [MQTT-3.1.2-24], and nothing can be said without it: the
 * connection ends (0x95) before anything is changed. Throws `ProtocolError`.
 */
export function judgeAnswer ({ maximumPacketBytes }: { readonly maximumPacketBytes: number }, filters: number): void {
  if (filters + mostBeside <= maximumPacketBytes || encodeSuback(5, 1, new Array<number>(filters)).length <= maximumPacketBytes) return
  throw new ProtocolError(`the answer to ${filters} filters is larger than its Maximum Packet Size`, disconnectReasons.packetTooLarge)
}
