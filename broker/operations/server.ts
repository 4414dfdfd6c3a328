/** `server.*`. */
import { z } from 'zod'
import { flag, integer } from './fields.ts'
import { request } from './operation.ts'
import { count, listed } from './results.ts'

/** Seconds: below it pings are most of what a phone sends; above is what a CONNECT can say (MQTT 5.0, section 3.1.2.10). */
const [least, most] = [10, 65_535]
const seconds = () => integer(least, most).optional().describe(`${least} to ${most}`)
const keepAlive = () => ({ wifi: count(), cellular: count(), nat: count() })

export const serverInfo = request({
  name: 'server.info',
  text: 'as on `im/server`',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/server'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({
    name: z.string(),
    version: z.string(),
    mode: z.enum(['dev', 'password', 'jwt', 'webhook']),
    prefix: z.string(),
    limits: z.record(z.string(), count()),
    keepAlive: z.strictObject(keepAlive()),
    features: listed('name')
  }),
  run: async ({ server }) => server.info()
})

export const serverKeepalive = request({
  name: 'server.keepalive',
  text: 'the advised keep alive by network, seconds: those that are given are other ones from now on (`reset`: the rest as configured); without parameters what it is',
  permission: 'operator',
  rate: 'plain',
  query: false,
  params: () => z.object({ wifi: seconds(), cellular: seconds(), nat: seconds(), reset: flag(false) }),
  result: () => z.strictObject(keepAlive()),
  run: async ({ server }, _caller, change) => await server.keepAlive(change)
})
