/** `contacts.*`: whom one knows, and from whom one takes messages. */
import { z } from 'zod'
import { after, id, limit, oneOf, text } from './fields.ts'
import { request } from './operation.ts'
import { contactGroups, remark } from './person-fields.ts'

const maxWord = 256
const modes = ['everybody', 'contacts', 'nobody'] as const
const contact = () => z.strictObject({ user: z.string(), since: z.number(), remark: z.string().optional(), groups: z.array(z.string().meta({ title: 'name' })).optional() })
const waiting = () => z.array(z.strictObject({ user: z.string(), ts: z.number(), text: z.string().optional() }))
const them = () => z.object({ user: id() })

export const contactsRequest = request({
  name: 'contacts.request',
  text: 'asks to be a contact, with a word; `state` is `asked`, or `contact` where the other one has asked you, or you are contacts already',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/contacts/{user}/request'],
  query: false,
  params: () => z.object({ user: id(), text: text(maxWord).describe(`1 to ${maxWord} characters`).optional() }),
  result: () => z.strictObject({ user: z.string(), state: z.enum(['asked', 'contact']) }),
  run: async ({ contacts }, caller, { user, text }) => ({ user, state: await contacts.request(caller.user, user, text) })
})

export const contactsRequests = request({
  name: 'contacts.requests',
  text: 'those that are open: who asked you, and whom you asked',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/contact-requests'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({ received: waiting(), sent: waiting() }),
  run: ({ contacts }, { user }) => contacts.requests(user)
})

export const contactsAccept = request({
  name: 'contacts.accept',
  text: 'who asked you is a contact of yours, and you of theirs',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/contacts/{user}/accept'],
  query: false,
  params: them,
  result: () => z.strictObject({ user: z.string(), state: z.literal('contact') }),
  run: async ({ contacts }, caller, { user }) => {
    await contacts.accept(caller.user, user)
    return { user, state: 'contact' as const }
  }
})

export const contactsRefuse = request({
  name: 'contacts.refuse',
  text: 'the request ends, and who made it hears so',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/contacts/{user}/refuse'],
  query: false,
  params: them,
  result: () => z.strictObject({ user: z.string(), state: z.literal('none') }),
  run: async ({ contacts }, caller, { user }) => {
    await contacts.refuse(caller.user, user)
    return { user, state: 'none' as const }
  }
})

export const contactsRemove = request({
  name: 'contacts.remove',
  text: 'you are no contacts any more, or your request is taken back',
  permission: 'user',
  rate: 'plain',
  http: ['DELETE /v1/contacts/{user}'],
  query: false,
  params: them,
  result: () => z.strictObject({ user: z.string(), state: z.literal('none') }),
  run: async ({ contacts }, caller, { user }) => {
    await contacts.remove(caller.user, user)
    return { user, state: 'none' as const }
  }
})

export const contactsSet = request({
  name: 'contacts.set',
  text: 'what you call a contact, and the groups that you put it in, for you alone; what is not given stays, `""` and `[]` remove',
  permission: 'user',
  rate: 'plain',
  http: ['PUT /v1/contacts/{user}'],
  query: false,
  params: () => z.object({ user: id(), remark: remark().optional(), groups: contactGroups().optional() }),
  result: contact,
  run: ({ contacts }, caller, { user, ...change }) => contacts.set(caller.user, user, change)
})

export const contactsList = request({
  name: 'contacts.list',
  text: 'your contacts by id, or those that you put in `group`',
  permission: 'user',
  rate: 'heavy',
  http: ['GET /v1/contacts'],
  query: true,
  params: () => z.object({ group: text(64).optional(), limit: limit(100, 500), after: after() }),
  result: () => z.strictObject({ contacts: z.array(contact()), next: z.string().optional() }),
  run: ({ contacts }, { user }, page) => contacts.list(user, page)
})

export const contactsMode = request({
  name: 'contacts.mode',
  text: 'who may write to you and put you in groups: with `nobody` your contacts alone, and nobody may ask to be one; without `mode` what it is',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/contact-mode', 'PUT /v1/contact-mode'],
  query: false,
  params: () => z.object({ mode: oneOf([...modes, 'default']).optional() }),
  result: () => z.strictObject({ mode: z.enum(modes) }),
  run: async ({ contacts }, { user }, { mode }) => {
    if (mode === undefined) return { mode: await contacts.mode(user) }
    return { mode: await contacts.setMode(user, mode === 'default' ? undefined : mode) }
  }
})
