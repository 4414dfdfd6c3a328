/** `server.info`. */
import type { Methods, Parts } from './methods.ts'

export function serverMethods ({ serverInfo }: Parts): Methods {
  return [['server.info', async () => serverInfo()]]
}
