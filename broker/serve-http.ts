/** What listens on the HTTP port: health pages, the API, WebSocket. */
import type { Logger } from 'pino'
import { allMeasures } from './all-measures.ts'
import type { Config } from './config/schema.ts'
import type { Gateway } from './gateway/gateway.ts'
import { openFurther } from './further-listeners.ts'
import { listening, type Listening } from './gateway/listener/listeners.ts'
import { serveWebSocket } from './gateway/listener/websocket.ts'
import type { Api } from './http/api/api.ts'
import { hostRule } from './http/host-rule.ts'
import type { HttpOptions } from './http/server.ts'
import type { Core } from './link/core.ts'
import { packageVersion } from './version.ts'

interface Served { gateway: Gateway, core: Core }

/** Health pages, API and WebSocket; resolves to what lets them, and the further listeners, listen. HTTP's router takes a while to load: MQTT listens by then, and commands that need the store alone do without. */
export async function prepareHttp (config: Config, log: Logger, { gateway, core }: Served, pages: Pick<HttpOptions, 'ready' | 'alive' | 'entrance'> & { draining: () => boolean }, cleanup: { add (step: () => Promise<void> | void): void }): Promise<HttpParts> {
  const { createHttp, furtherHttp } = await import('./http/server.ts')
  const hostAllowed = hostRule(config.http.host, config.http.hosts)
  const own = log.child({ part: 'http' })
  const api = config.http.api ? await openApi(config, own, { gateway, core }, pages.draining) : undefined
  const http = await createHttp({
    ...pages,
    version: packageVersion(),
    log: own,
    api,
    metrics: config.metrics.enabled ? { token: config.metrics.token, measures: () => allMeasures({ core, gateway }) } : undefined,
    readyForMs: config.http.readyForMs,
    limits: config.http,
    hostAllowed
  })
  const webSocket = { ...config.mqtt.ws, maxFrameBytes: Math.max(config.mqtt.ws.frameBytes, config.mqtt.limits.packetBytes), hostAllowed }
  const stopWebSocket = serveWebSocket(gateway, http, webSocket)
  return {
    listenHttp: async () => {
      const httpAt = await listening(http, config.http)
      cleanup.add(async () => {
        stopWebSocket()
        httpAt.close()
        await api?.close()
        http.closeIdleConnections()
      })
      return httpAt
    },
    openOthers: () => openFurther({ config, acceptor: gateway, http, furtherHttp, webSocket, log: log.child({ part: 'listeners' }), cleanup: step => { cleanup.add(step) } })
  }
}

interface HttpParts {
  listenHttp: () => Promise<Listening>
  openOthers: () => ReturnType<typeof openFurther>
}

async function openApi ({ http, messages, mqtt }: Config, log: Logger, { gateway, core }: Served, draining: () => boolean): Promise<Api> {
  const { Api } = await import('./http/api/api.ts')
  return new Api({
    authenticate: request => core.engine.authenticate(request),
    visits: gateway.visits,
    origins: http.cors,
    prefix: mqtt.prefix,
    signInMs: http.signInSeconds * 1000,
    maxMessageBytes: messages.maxBytes,
    draining,
    streams: { registry: gateway.streams, ...http.stream, log },
    log
  })
}
