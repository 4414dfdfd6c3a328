/** What all connections have carried since the start. */
export class Traffic {
  /** PUBLISH packets. */
  received = 0
  sent = 0
  bytesReceived = 0
  bytesSent = 0
}
