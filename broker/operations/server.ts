/** `server.*`. */
import { z } from 'zod'
import { request } from './operation.ts'
import { count, listed } from './results.ts'

export const serverInfo = request({
  name: 'server.info',
  text: 'as on `im/server`',
  permission: 'user',
  rate: 'plain',
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({
    name: z.string(),
    version: z.string(),
    mode: z.enum(['dev', 'password']),
    prefix: z.string(),
    limits: z.record(z.string(), count()),
    features: listed('name')
  }),
  run: async ({ server }) => server.info()
})
