/** `blocks.*`. */
import type { Methods, Parts } from '../requests/methods.ts'
import * as read from '../requests/params.ts'

export function blockMethods ({ blocks }: Parts): Methods {
  return [
    ['blocks.add', async (_host, caller, params) => {
      const user = read.id(params, 'user')
      await blocks.add(caller.user, user)
      return { user, blocked: true }
    }],
    ['blocks.remove', async (_host, caller, params) => {
      const user = read.id(params, 'user')
      await blocks.remove(caller.user, user)
      return { user, blocked: false }
    }],
    ['blocks.list', async (_host, caller) => ({ users: await blocks.list(caller.user) })]
  ]
}
