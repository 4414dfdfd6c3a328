/** Limits of the access side; each has a configuration key `mqtt.limits.<name>` unless another is named. */
export interface GatewayLimits {
  /** Bytes of one packet. */
  packetBytes: number
  /** Bytes of the CONNECT packet. */
  connectBytes: number
  /** From the accepted socket to the CONNACK. */
  connectTimeoutMs: number
  /** The longest keep alive; MQTT 5 clients are told a smaller one, others are held to what they asked for. */
  keepAliveMaxSeconds: number
  connections: number
  connectionsPerAddress: number
  connectionsPerUser: number
  /** Times in a second that one session may be taken over by another connection of the same client id. */
  takeoversPerSecond: number
  subscriptionsPerSession: number
  /** Messages that were sent to a session and not acknowledged. */
  inflight: number
  /** Connected sessions of one share, its messages from the oldest unacknowledged one on, and how long one may hold that while the others wait for it. */
  shareMembers: number
  shareInflight: number
  shareHoldTimeoutMs: number
  /** How long a share outlives its last connection (`sessions.shareExpirySeconds`). */
  shareExpirySeconds: number
  /** Bytes of messages that are kept in memory for sessions that are a little behind. */
  recentBytes: number
  /** Publishes of one connection that wait for their commit; above it the socket is not read. */
  pendingPublishes: number
  /** Bytes of their payloads; above it the socket is not read either. */
  pendingBytes: number
  /** Publishes of all connections that wait for their commit; above it connections that send more than one are read in turn. */
  queuedPublishes: number
  /** Sessions that are opened at the same time, and pages of streams looked for: enough for reads that are shared, and few enough that others' messages find the event loop and the store free. */
  opening: number
  /** Requests of one connection that are served; above it the socket is not read. */
  pendingRequests: number
  /** Bytes of answers that are being made or were not taken, of one user and of all. */
  answerBytesPerUser: number
  answerBytes: number
  /** QoS 2 publishes of one connection that wait for their PUBREL; above it they are refused, and the Receive Maximum is not larger. */
  pendingQos2: number
  /** Packets and bytes that one connection may send in a second; 0 = no limit. Above it the connection is closed. */
  packetsPerSecond: number
  bytesPerSecond: number
  topicBytes: number
  topicLevels: number
  /** Topic aliases of one connection, each way (MQTT 5). */
  topicAliases: number
  clientIdBytes: number
  /** Unsent bytes of one connection above which nothing is read from it. */
  outputBytes: number
  /** A connection that takes no byte of what is unsent for this long is closed; its session stays. */
  stallTimeoutMs: number
  /** Wills of one user that wait for their delay, and bytes of them all. */
  delayedWillsPerUser: number
  delayedWillBytes: number
  /** Ordinary messages that are kept for one session that is away; the oldest go first. */
  offlineQueue: number
  /** Bytes of those, and bytes of all queues (a message that several have counted once). */
  offlineQueueBytes: number
  offlineBytes: number
  /** Retained messages, and bytes of them all. */
  retained: number
  retainedBytes: number
  /** How long a 3.1.1 session with clean session 0 outlives its connection (`sessions.expirySeconds`). */
  sessionExpirySeconds: number
  /** The longest that any session may (`sessions.maxExpirySeconds`). */
  maxSessionExpirySeconds: number
}
