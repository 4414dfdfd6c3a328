import { Refusal, type Code } from '../../errors.ts'
import { isId } from '../../topics.ts'
import type { Access } from '../gateway.ts'
import { encodeConnack } from './connack.ts'
import type { Connection } from './connection.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import { Session } from '../delivery/session.ts'
import { Evidence } from './evidence.ts'
import { Contested, logFailure } from './failure.ts'
import { encodeConnackRefusal, type ConnectFrame } from '../../mqtt/index.ts'

/** CONNACK codes of a refusal: return code of 3.1.1 (section 3.2.2.3), reason code of 5 (section 3.2.2.2). */
const connackCodes: Partial<Record<Code, [number, number]>> = {
  unauthorized: [5, 0x87],
  forbidden: [5, 0x87],
  banned: [5, 0x8a],
  // The account was removed while its password was looked at.
  not_found: [5, 0x87],
  rate_limited: [3, 0x97],
  unavailable: [3, 0x88],
  bad_payload: [4, 0x86],
  too_large: [2, 0x85]
}

/** Unsent bytes above which delivery to a connection waits; not below a socket's own mark, or no drain would be heard of. */
const softOutputBytes = 65536

let assigned = 0
const assignedPrefix = `auto-${Date.now().toString(36)}${Math.floor(Math.random() * 46656).toString(36)}-`

/** Answers a CONNECT, also when the server cannot do what it asks for. The connection is held until this is done. */
export async function connect (access: Access, connection: Connection, frame: ConnectFrame): Promise<void> {
  connection.clientId = frame.clientId
  try {
    await open(access, connection, frame)
  } catch (err) {
    if (connection.isClosed) return
    if (connection.phase !== 'connecting') throw err
    // Held until then, so that it cannot ask again: what it costs is one connection a second.
    if (err instanceof Contested) await access.pause()
    if (connection.isClosed) return
    if (err instanceof Refusal) return refuse(connection, frame, err)
    logFailure(access.log, err as Error, { ...named(frame), address: connection.transport.address }, 'a CONNECT could not be answered')
    refuse(connection, frame, new Refusal('unavailable'))
  }
}

/** Who is it, may it, which session. Throws `Refusal`. */
async function open (access: Access, connection: Connection, frame: ConnectFrame): Promise<void> {
  if (frame.properties?.authenticationMethod !== undefined) {
    // Enhanced authentication is not offered (MQTT 5.0, section 4.12).
    connection.output.write(encodeConnackRefusal(5, 0x8c))
    return connection.close()
  }
  // Those who fight for a session are turned away before their passwords are hashed; only who was let in is counted.
  const claimed = `${frame.username ?? ''}/${frame.clientId}`
  if (access.sessions.has(claimed) && !access.takeovers.has(claimed)) throw tooManyTakeovers()
  const user = await admitted(access, connection, frame)
  if (connection.isClosed) return
  // In one turn with the entry, from which on a kick closes the connection.
  if (connection.kicked !== undefined) throw new Refusal(connection.kicked)
  access.enter(connection, user)
  // From here on a ban takes it away.
  connection.will = frame.will
  const { limits } = access
  const clientId = frame.clientId !== '' ? frame.clientId : assignedPrefix + (++assigned).toString(36)
  const id = `${user}/${clientId}`
  connection.clientId = clientId
  const expirySeconds = frame.protocolVersion === 5
    ? Math.min(frame.properties?.sessionExpirySeconds ?? 0, limits.maxSessionExpirySeconds)
    : frame.clean ? 0 : limits.sessionExpirySeconds
  const unlock = await access.lock(id)
  try {
    const old = access.sessions.get(id)
    if (old !== undefined) {
      if (!access.takeovers.take(id)) throw tooManyTakeovers()
      // [MQTT-3.1.4-2]: the same user's earlier connection ends first.
      old.connection.close({ reason: disconnectReasons.takenOver })
      await old.ended
    }
    if (connection.isClosed) return
    if (access.countOf(user) > limits.connectionsPerUser && user !== '') {
      throw new Refusal('rate_limited', 'too many connections of this user')
    }
    const resumed = await access.engine.openSession({ session: id, user, clientId, cleanStart: frame.clean, expirySeconds })
    const { properties } = frame
    const receiveMaximum = Math.min(limits.pendingPublishes, limits.pendingQos2, 65535)
    if (frame.protocolVersion === 5) connection.receiveMaximum = receiveMaximum
    connection.maximumPacketBytes = properties?.maximumPacketBytes ?? connection.maximumPacketBytes
    connection.problemInformation = properties?.requestProblemInformation !== false
    const window = Math.min(limits.inflight, properties?.receiveMaximum ?? 65535)
    const { resends } = resumed
    // An MQTT 3 client may have as many unanswered as there are packet ids.
    const evidence = resends === undefined ? undefined : new Evidence(frame.protocolVersion === 5 ? receiveMaximum : 65_536)
    const session = new Session(access.pump, connection, { id, user, clientId, expirySeconds, window, softOutputBytes, ...(evidence !== undefined && { evidence }) })
    if (resends !== undefined) connection.inbound.resends = resends
    session.resumes(resumed.inflight)
    connection.session = session
    access.addSession(session, connection, resumed.present)
    // What its last connection sent waits for its sender's rate: each connection would bring more.
    if (access.engine.isHeld(id)) connection.pace(true)
    if (connection.isClosed) return access.connectionClosed(connection, false)
    // One session, two keepers: what Aedes keeps for it goes when the session itself has gone.
    if (!resumed.present) await access.ordinary?.forget(id)
    if (connection.isClosed) return
    const keepAliveSeconds = serverKeepAlive(frame, limits.keepAliveMaxSeconds)
    connection.keepAliveMs = (keepAliveSeconds ?? frame.keepAliveSeconds) * 1000
    for (const { filter, qos } of resumed.subscriptions) {
      const means = access.topics.filter(filter, user)
      if (means !== undefined) session.interest.set(filter, means, qos)
    }
    connection.opened()
    connection.output.write(encodeConnack(frame.protocolVersion, resumed.present, {
      receiveMaximum,
      maximumPacketBytes: limits.packetBytes,
      ...(frame.clientId === '' ? { assignedClientId: clientId } : {}),
      ...(keepAliveSeconds !== undefined ? { serverKeepAliveSeconds: keepAliveSeconds } : {}),
      ...(expirySeconds !== (properties?.sessionExpirySeconds ?? 0) ? { sessionExpirySeconds: expirySeconds } : {})
    }))
    access.log.debug({ user, clientId, version: frame.protocolVersion, present: resumed.present, address: connection.transport.address }, 'connected')
    const ordinaryWill = frame.will !== undefined && !access.topics.isChat(frame.will.topic)
    if (ordinaryWill || (session.persistent && access.ordinary?.knows(id) === true)) await access.subscriptions.attach(connection)
    session.interest.sum()
    await session.resend()
    if (session.closed) return
    access.pump.add(session)
    session.interest.apply()
  } finally {
    unlock()
  }
}

function tooManyTakeovers (): Refusal { return new Contested('the session is taken over too often') }

/** The user's id ('' for an anonymous client of ordinary topics). Throws `Refusal`. */
async function admitted (access: Access, connection: Connection, frame: ConnectFrame): Promise<string> {
  const { will } = frame
  let user = ''
  if (frame.username !== undefined || !access.options.anonymous) {
    if (frame.username !== undefined && !isId(frame.username)) throw new Refusal('bad_payload', 'a user name is 1 to 64 of A-Z a-z 0-9 . _ -')
    connection.claims = frame.username
    user = (await access.engine.authenticate({ user: frame.username, password: frame.password, address: connection.transport.address })).user
  }
  if (will !== undefined) {
    const target = access.topics.isChat(will.topic) ? access.topics.target(will.topic) : undefined
    const allowed = target !== undefined
      ? user !== '' && !('refuse' in target) && target.kind !== 'rpc'
      : access.ordinary !== undefined && access.openTopics.mayPublish(will.topic)
    if (!allowed) throw new Refusal('forbidden', 'the will may not be published')
    if (target !== undefined && !('refuse' in target)) {
      const { contentType, payloadFormat } = will.properties ?? {}
      const wrong = await access.engine.willRefusal({ user, target, payload: will.payload, contentType, utf8: payloadFormat === 1 })
      // Whatever it is: 3.1.1 has no other code that would say that it is not the password (section 3.2.2.3).
      if (wrong !== undefined) throw new Refusal('forbidden', `the will may not be published: ${wrong}`)
    }
  }
  return user
}

/** As whom a client comes, for the log. What is no user name may be a password in the wrong place. */
function named (frame: ConnectFrame): { user?: string, clientId: string } {
  return { ...(frame.username !== undefined && isId(frame.username) ? { user: frame.username } : {}), clientId: frame.clientId }
}

function refuse (connection: Connection, frame: ConnectFrame, refusal: Refusal): void {
  if (connection.isClosed) return
  const [returnCode, reasonCode] = connackCodes[refusal.code] ?? [3, 0x80]
  connection.access.log.info({ code: refusal.code, reason: refusal.message, ...named(frame), address: connection.transport.address }, 'connection refused')
  connection.output.write(encodeConnackRefusal(frame.protocolVersion, frame.protocolVersion === 5 ? reasonCode : returnCode))
  // It is the will of a CONNECT that is accepted [MQTT-3.1.2-8].
  connection.dropWill()
  connection.close()
}

/** The keep alive that an MQTT 5 client is told instead of its own (MQTT 5.0, section 3.2.2.3.14); undefined = its own. */
function serverKeepAlive (frame: ConnectFrame, maxSeconds: number): number | undefined {
  if (frame.protocolVersion !== 5) return undefined
  return frame.keepAliveSeconds === 0 || frame.keepAliveSeconds > maxSeconds ? maxSeconds : undefined
}
