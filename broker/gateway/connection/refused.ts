/** How a CONNECT is refused. */
import type { Logger } from 'pino'
import type { Refusal } from '../../errors.ts'
import { encodeConnackRefusal, type ConnectFrame } from '../../mqtt/index.ts'
import { isId } from '../../topics.ts'
import { connackCodes } from './connack.ts'

export interface RefusedClient {
  /** The user name while its password is looked at. */
  readonly claims: string | undefined
  readonly isClosed: boolean
  readonly output: { write (bytes: Buffer): void }
  readonly transport: { readonly address: string }
  dropWill (): void
  close (): void
}

/** As whom a client comes, for the log. What is no user name may be a password in the wrong place. */
export function named ({ claims }: Pick<RefusedClient, 'claims'>, { username = claims, clientId }: ConnectFrame): { user?: string, clientId: string } {
  return { ...(username !== undefined && isId(username) ? { user: username } : {}), clientId }
}

/** The CONNACK of who is not let in. */
export function refuse ({ log, refused }: { log: Logger, refused: { add (code: string): void } }, client: RefusedClient, frame: ConnectFrame, refusal: Refusal): void {
  if (client.isClosed) return
  const [returnCode, reasonCode] = connackCodes[refusal.code] ?? [3, 0x80]
  refused.add(refusal.code)
  log.info({ code: refusal.code, reason: refusal.message, ...named(client, frame), address: client.transport.address }, 'connection refused')
  client.output.write(encodeConnackRefusal(frame.protocolVersion, frame.protocolVersion === 5 ? reasonCode : returnCode))
  // It is the will of a CONNECT that is accepted [MQTT-3.1.2-8].
  client.dropWill()
  client.close()
}
