/** Rules between keys, which no schema of single keys can say. */
import { isLoopback } from '../network.ts'
import { authProblems } from './auth.ts'
import { listenerProblems } from './listeners.ts'
import { filterOf, isForEverybody, isForNobody } from './open-topic.ts'
import type { Config } from './schema.ts'

/** Bytes of a PUBLISH beside its payload: headers, topic, packet id, properties. */
const packetOverheadBytes = 256

/** What of the configuration lets anyone in, or `undefined`. */
export function openness (config: Config): { key: string, text: string } | undefined {
  if (config.auth.mode === 'dev') return { key: 'auth.mode', text: 'dev mode lets any user name in without a password' }
  if (config.mqtt.openTopics.some(entry => isForEverybody(entry) && /^(\+\/)*#$/.test(filterOf(entry)))) return { key: 'mqtt.openTopics', text: '"#" opens every topic outside the prefix to every user' }
  return undefined
}

/** What is wrong with a key, or with the part of its value at `path`. */
export interface CrossProblem { key: string, path?: readonly PropertyKey[], text: string }

/** Pages of the HTTP port itself. */
const ownPages = ['/healthz', '/readyz', '/openapi.json']

/** The keys' problems, each under the key that is to be changed. */
export function crossCheck (config: Config): CrossProblem[] {
  const problems: CrossProblem[] = []
  const { mqtt, http, listeners, auth, sessions, messages, store } = config
  const open = openness(config)
  if (open !== undefined && !auth.devAnywhere) {
    const further = listeners.flatMap(({ host, clientCertificates }, i) => clientCertificates === 'required' ? [] : [[`listeners[${i}]`, host] as const])
    for (const [key, host] of [['mqtt.tcp.host', mqtt.tcp.host], ['http.host', http.host], ...further] as const) {
      if (isLoopback(host)) continue
      problems.push({ key, text: `${host} is not a loopback address, and ${open.text} (${open.key}): use auth.mode password${open.key === 'auth.mode' ? '' : ' and narrower topics'}, or say --set auth.devAnywhere=true if that is meant` })
    }
  }
  if (messages.maxBytes + packetOverheadBytes > mqtt.limits.packetBytes) {
    problems.push({ key: 'messages.maxBytes', text: `${messages.maxBytes} bytes and ${packetOverheadBytes} of headers do not fit in mqtt.limits.packetBytes (${mqtt.limits.packetBytes})` })
  }
  if (sessions.expirySeconds > sessions.maxExpirySeconds) {
    problems.push({ key: 'sessions.expirySeconds', text: `${sessions.expirySeconds} is more than sessions.maxExpirySeconds (${sessions.maxExpirySeconds})` })
  }
  problems.push(...openTopicProblems(config), ...mqttProblems(mqtt), ...authProblems(auth), ...listenerProblems(listeners))
  if (store.driver === 'mongodb' && !/^mongodb(\+srv)?:\/\/./.test(store.url)) {
    problems.push({ key: 'store.url', text: 'the driver mongodb needs an address such as mongodb://127.0.0.1:27017/sabethes' })
  }
  problems.push(...clusterProblems(config))
  return problems
}

function clusterProblems ({ cluster, store }: Config): CrossProblem[] {
  const problems: CrossProblem[] = []
  if (cluster.redis !== '' && store.driver !== 'mongodb') {
    problems.push({ key: 'cluster.redis', text: 'servers that work as one share a database: store.driver mongodb' })
  }
  if (cluster.leaseMs < 3 * cluster.heartbeatMs) {
    problems.push({ key: 'cluster.leaseMs', text: `${cluster.leaseMs} is less than three times cluster.heartbeatMs (${cluster.heartbeatMs}): one late sign of life would be taken for the end of a server` })
  }
  return problems
}

function mqttProblems (mqtt: Config['mqtt']): CrossProblem[] {
  const problems: CrossProblem[] = []
  if (mqtt.elsewhere.redirect && mqtt.elsewhere.address === '') {
    problems.push({ key: 'mqtt.elsewhere.redirect', text: 'nobody can be sent elsewhere without mqtt.elsewhere.address' })
  }
  if (ownPages.includes(mqtt.ws.path) || mqtt.ws.path.startsWith('/v1/')) {
    problems.push({ key: 'mqtt.ws.path', text: `${mqtt.ws.path} is taken: it is a page of the server itself` })
  }
  return problems
}

/** Entries of `mqtt.openTopics` that open nothing. */
function * openTopicProblems ({ mqtt: { openTopics, prefix } }: Config): Generator<CrossProblem> {
  for (const [at, entry] of openTopics.entries()) {
    const filter = filterOf(entry)
    const problem = (why: string): CrossProblem => ({ key: 'mqtt.openTopics', path: [at], text: `"${filter}" opens nothing: ${why}` })
    const first = filter.split('/', 1)[0]
    if (isForNobody(entry)) yield problem('nobody may read or write it')
    else if (first === '$SYS') yield problem('topics of $SYS are never ordinary topics')
    else if (first === prefix) yield problem(`topics of the chat (mqtt.prefix ${prefix}) are never ordinary topics`)
  }
}
