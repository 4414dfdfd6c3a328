/** `tokens.*` and `account.*`: what a device comes back with instead of the password, and the password itself. */
import { z } from 'zod'
import { flag, password, platform, text } from './fields.ts'
import { request } from './operation.ts'
import { listed } from './results.ts'

const tokens = () => ({ id: z.string(), accessToken: z.string(), expiresAt: z.number(), refreshToken: z.string(), refreshExpiresAt: z.number() })

export const tokensCreate = request({
  name: 'tokens.create',
  text: 'a login of this device: `accessToken` is a password until `expiresAt`; `ended` are logins that had to go for it, see [accounts](docs/accounts.md)',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/tokens'],
  query: false,
  params: () => z.object({ password: password(), name: text(64).optional(), platform: platform().optional() }),
  result: () => z.strictObject({ ...tokens(), ended: listed('id') }),
  run: ({ tokens }, { user }, params) => tokens.create(user, params)
})

export const tokensRefresh = request({
  name: 'tokens.refresh',
  text: 'new tokens of the login; the old ones count no more, its connections go on',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/tokens/refresh'],
  query: false,
  params: () => z.object({ refreshToken: text(512) }),
  result: () => z.strictObject(tokens()),
  run: ({ tokens }, { user }, { refreshToken }) => tokens.refresh(user, refreshToken)
})

export const tokensList = request({
  name: 'tokens.list',
  text: 'your logins, the oldest first',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/tokens'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({
    logins: z.array(z.strictObject({ id: z.string(), name: z.string().optional(), platform: z.string().optional(), createdAt: z.number(), seenAt: z.number(), address: z.string().optional(), expiresAt: z.number() }))
  }),
  run: async ({ tokens }, { user }) => ({ logins: await tokens.list(user) })
})

export const tokensRevoke = request({
  name: 'tokens.revoke',
  text: 'ends a login: its tokens and its connections; with `all` each but `except`',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/tokens/revoke'],
  query: false,
  params: () => z.object({ id: text(64).optional(), all: flag(false), except: text(64).optional() }).refine(({ id, all }) => (id !== undefined) !== all, { path: ['id'], message: 'is missing (or give all)', when: () => true }),
  result: () => z.strictObject({ ended: listed('id') }),
  run: async ({ tokens }, { user }, { id, except }) => ({ ended: await tokens.revoke(user, id === undefined ? { except } : { id }) })
})

export const accountPassword = request({
  name: 'account.password',
  text: 'another password; your connections end, those of the login `keep` alone go on',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/account/password'],
  query: false,
  params: () => z.object({ password: password(), newPassword: password(), keep: text(64).optional() }),
  result: () => z.strictObject({ user: z.string() }),
  run: async ({ tokens }, { user }, { password, newPassword, keep }) => {
    await tokens.password(user, { password, newPassword, keep })
    return { user }
  }
})
