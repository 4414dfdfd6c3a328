import { disconnectReasons } from './disconnect-reasons.ts'

/** Another server that clients are told of (MQTT 5.0, section 4.11). */
export interface Elsewhere {
  /** Server Reference; undefined: none is known. */
  address: string | undefined
  reason: typeof disconnectReasons.useAnotherServer | typeof disconnectReasons.serverMoved
  /** Whoever connects is sent there. */
  redirect: boolean
}

/** `permanent`: clients should use it from now on. */
export function elsewhere ({ address, permanent, redirect }: { address: string, permanent: boolean, redirect: boolean }): Elsewhere | undefined {
  if (address === '') return undefined
  return { address, reason: permanent ? disconnectReasons.serverMoved : disconnectReasons.useAnotherServer, redirect }
}

/** The packet with the address, or without it for a client that has no room for that [MQTT-3.1.2-24]. */
export function withRoom (maximumPacketBytes: number | undefined, address: string | undefined, encode: (address?: string) => Buffer): Buffer {
  const packet = encode(address)
  return packet.length <= (maximumPacketBytes ?? Infinity) ? packet : encode()
}
