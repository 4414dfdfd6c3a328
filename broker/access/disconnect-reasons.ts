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
  administrative: 0x98
} as const
