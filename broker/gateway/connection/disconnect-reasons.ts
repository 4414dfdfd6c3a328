/** Reason codes of a server's DISCONNECT (MQTT 5.0, section 3.14.2.1). */
export const disconnectReasons = {
  unspecified: 0x80,
  notAuthorized: 0x87,
  busy: 0x89,
  shuttingDown: 0x8b,
  keepAlive: 0x8d,
  takenOver: 0x8e,
  receiveMaximum: 0x93,
  packetTooLarge: 0x95,
  messageRate: 0x96,
  administrative: 0x98,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  maximumConnectTime: 0xa0
} as const

const texts = new Map<number, string>([
  [disconnectReasons.unspecified, 'the server failed'],
  [disconnectReasons.busy, 'what it published could not be stored'],
  [disconnectReasons.shuttingDown, 'the server stops'],
  [disconnectReasons.keepAlive, 'silent for longer than its keep alive'],
  [disconnectReasons.takenOver, 'taken over by another connection of the same client id'],
  [disconnectReasons.messageRate, 'too many packets or bytes in a second'],
  [disconnectReasons.administrative, 'ended by the operator'],
  [disconnectReasons.useAnotherServer, 'the server stops: sent to another one'],
  [disconnectReasons.serverMoved, 'the server stops: sent to another one'],
  [disconnectReasons.maximumConnectTime, 'its token has ended']
])

/** A reason for the log. */
export function reasonText (code: number): string { return texts.get(code) ?? `0x${code.toString(16)}` }
