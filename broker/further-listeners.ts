/** The listeners of `listeners`, beside `mqtt.tcp` and `http`: with TLS, behind proxies, or at another address. */
import type { IncomingMessage, Server as HttpServer } from 'node:http'
import type { Server } from 'node:net'
import type { Server as TlsServer, TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { ListenerConfig } from './config/listeners.ts'
import type { Config } from './config/schema.ts'
import { Certificates } from './gateway/listener/certificates.ts'
import { listening, serveTcp, serveTls, type Listening } from './gateway/listener/listeners.ts'
import { expectProxyHeaders, Proxies, trustForwarded } from './gateway/listener/proxies.ts'
import { certifiedUser, tlsOptions } from './gateway/listener/secure.ts'
import type { Acceptor } from './gateway/listener/transport.ts'
import { serveWebSocket, type WebSocketOptions } from './gateway/listener/websocket.ts'
import type { furtherHttp } from './http/server.ts'
import { isLoopback } from './network.ts'

export interface FurtherSetup {
  config: Config
  acceptor: Acceptor
  /** Answers the requests. */
  http: HttpServer
  furtherHttp: typeof furtherHttp
  webSocket: WebSocketOptions
  log: Logger
  /** Undoes a step, with the others of the server. */
  cleanup: (step: () => void) => void
}

export interface FurtherListener { kind: ListenerConfig['kind'], host: string, port: number }

/** Resolves when all of them listen; rejects when one cannot. */
export async function openFurther (setup: FurtherSetup): Promise<Array<FurtherListener & { close (): void }>> {
  const open: Array<FurtherListener & { close (): void }> = []
  for (const listener of setup.config.listeners) {
    const { host, port, close } = await listen(listener, setup)
    open.push({ kind: listener.kind, host, port, close })
    setup.log.info({ kind: listener.kind, host, port }, 'listening')
  }
  return open
}

/** Listeners on which passwords and messages can be read by whoever is on the way. */
export function plainBeyondHost ({ mqtt, http, listeners }: Config): Array<{ kind: string, host: string, port: number }> {
  const all = [{ kind: 'mqtt', ...mqtt.tcp }, { kind: 'http', host: http.host, port: http.port }, ...listeners]
  return all.filter(({ kind, host }) => !kind.endsWith('s') && !isLoopback(host)).map(({ kind, host, port }) => ({ kind, host, port }))
}

async function listen (listener: ListenerConfig, setup: FurtherSetup): Promise<Listening> {
  const { config, log, cleanup } = setup
  const certificates = listener.kind.endsWith('s') ? new Certificates({ ...listener, log }) : undefined
  const tls = certificates === undefined
    ? undefined
    : { ...tlsOptions({ clientCertificates: listener.clientCertificates, handshakeTimeoutMs: config.mqtt.limits.connectTimeoutMs }), ...await certificates.load() }
  const proxies = new Proxies(listener.proxies)
  const server = listener.kind.startsWith('mqtt') ? mqttServer(setup, tls) : httpServer(setup, tls, listener.proxyProtocol || listener.proxies.length === 0 ? undefined : proxies)
  if (listener.proxyProtocol) {
    const refused = (address: string, reason: string): void => { log.info({ address, reason }, 'a connection that no proxy has made was refused') }
    expectProxyHeaders(server, { proxies, timeoutMs: config.mqtt.limits.connectTimeoutMs, refused })
  }
  if (certificates !== undefined) {
    certificates.renew(server as TlsServer)
    cleanup(() => { certificates.close() })
  }
  const at = await listening(server, listener)
  cleanup(() => { at.close() })
  return at
}

function mqttServer ({ acceptor }: FurtherSetup, tls: TlsOptions | undefined): Server { return tls === undefined ? serveTcp(acceptor) : serveTls(acceptor, tls) }

function httpServer ({ config, acceptor, http, furtherHttp, webSocket, log, cleanup }: FurtherSetup, tls: TlsOptions | undefined, proxies: Proxies | undefined): HttpServer {
  const seen = proxies === undefined ? undefined : (request: IncomingMessage): void => { trustForwarded(proxies, request) }
  const server = furtherHttp(http, config.http, { ...tls !== undefined && { tls }, ...seen !== undefined && { seen } })
  const asks = tls?.requestCert === true
  if (asks) {
    server.prependListener('secureConnection', (socket: TLSSocket) => {
      if (certifiedUser(socket) !== 'wrong') return
      log.info({ address: socket.remoteAddress }, 'the certificate of a client was not taken')
      socket.destroy()
    })
  }
  const stopWebSocket = serveWebSocket(acceptor, server, { ...webSocket, certificates: asks })
  cleanup(() => {
    stopWebSocket()
    server.closeIdleConnections()
  })
  return server
}
