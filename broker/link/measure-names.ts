/**
 * All that the server measures of itself, by the names that Prometheus has for it (base units, `_total` for what only grows:
 * https://prometheus.io/docs/practices/naming/). docs/metrics.md and /metrics are made from this.
 */
export interface MeasureKind { type: 'counter' | 'gauge' | 'histogram', help: string, /** Names of the labels. */ labels?: readonly string[] }

const kinds = {
  sabethes_connections: { type: 'gauge', help: 'Connections of signed-in clients', labels: ['protocol'] },
  sabethes_sockets: { type: 'gauge', help: 'Sockets of MQTT and WebSocket, also of those who have not signed in' },
  sabethes_connections_refused_total: { type: 'counter', help: 'CONNECT packets that were refused', labels: ['code'] },
  sabethes_http_visits: { type: 'gauge', help: 'Requests to the API that are under way' },
  sabethes_received_packets_total: { type: 'counter', help: 'PUBLISH packets that clients sent' },
  sabethes_sent_packets_total: { type: 'counter', help: 'PUBLISH packets that clients were sent' },
  sabethes_received_bytes_total: { type: 'counter', help: 'Bytes that clients sent' },
  sabethes_sent_bytes_total: { type: 'counter', help: 'Bytes that clients were sent' },
  sabethes_publishes_refused_total: { type: 'counter', help: 'Publishes and verbs that were refused', labels: ['code'] },
  sabethes_publishes_waiting: { type: 'gauge', help: 'Publishes that have no answer yet' },
  sabethes_publish_seconds: { type: 'histogram', help: 'From a publish to its answer, stored or refused; requests are not counted' },
  sabethes_delivery_seconds: { type: 'histogram', help: 'From the time stamp of a message until connected readers are sent it; of the first message of each batch' },
  sabethes_streams_behind: { type: 'gauge', help: 'Conversations that connected clients have not been sent to their ends' },
  sabethes_unsent_bytes: { type: 'gauge', help: 'Bytes that connections have not taken yet' },
  sabethes_messages_total: { type: 'counter', help: 'Messages that were stored and numbered' },
  sabethes_replays_total: { type: 'counter', help: 'Messages that came again and were not stored again' },
  sabethes_commits_total: { type: 'counter', help: 'Commits that the store took' },
  sabethes_commit_failures_total: { type: 'counter', help: 'Commits that failed: nothing of them was acknowledged' },
  sabethes_commit_seconds: { type: 'histogram', help: 'Time of a commit in the store' },
  sabethes_commit_messages: { type: 'histogram', help: 'Messages of a commit' },
  sabethes_commit_queue: { type: 'gauge', help: 'What waits for the commit under way, and is in it' },
  sabethes_requests_total: { type: 'counter', help: 'Requests, by what became of them: ok, or the code of the refusal', labels: ['code'] },
  sabethes_plugin_refused_total: { type: 'counter', help: 'Messages that a plugin refused', labels: ['plugin'] },
  sabethes_plugin_failures_total: { type: 'counter', help: 'Faults of a plugin: failed, timed_out, listener_failed, listener_skipped, stray', labels: ['plugin', 'kind'] },
  sabethes_feed_behind_entries: { type: 'gauge', help: 'Entries of the feed that a reader has not acknowledged', labels: ['reader'] },
  sabethes_feed_behind_seconds: { type: 'gauge', help: 'Age of the oldest entry that a reader has not acknowledged', labels: ['reader'] },
  sabethes_engine_loop_delay_seconds: { type: 'gauge', help: 'Delay of the engine\'s event loop since the last look, by quantile: 0.5, 0.99, 1; it is the sockets\' one unless engine.thread is set', labels: ['quantile'] },
  sabethes_store_up: { type: 'gauge', help: '1: the store takes messages' },
  sabethes_engine_up: { type: 'gauge', help: '1: the engine said what it measures; 0: it did not answer in time, and what it measures is not here' },
  sabethes_draining: { type: 'gauge', help: '1: the server sends its clients to others' },
  sabethes_cluster_linked: { type: 'gauge', help: '1: Redis answered the last sign of life' },
  sabethes_cluster_servers: { type: 'gauge', help: 'Servers of the cluster that this one knows' },
  sabethes_cluster_lag_seconds: { type: 'gauge', help: 'Since when something may be unsaid or unheard between this server and the others' },
  sabethes_cluster_share: { type: 'gauge', help: 'Of all conversations those that this server owns, 0 to 1' },
  sabethes_info: { type: 'gauge', help: 'Always 1', labels: ['version'] }
} as const satisfies Record<string, MeasureKind>

export type MeasureName = keyof typeof kinds

export const measureKinds: Readonly<Record<MeasureName, MeasureKind>> = kinds
