/** `people.*`: what people say of themselves, and finding them. */
import { z } from 'zod'
import { after, id, ids, limit, oneOf, text, worthOf } from './fields.ts'
import { request } from './operation.ts'
import { avatar, languageTag, nickname, profileFields, timeZone } from './person-fields.ts'

const person = () => ({ user: z.string(), nickname: z.string().optional(), avatar: z.string().optional() })
const visibilities = ['everybody', 'contacts', 'nobody'] as const
const findables = ['prefix', 'exact', 'nobody'] as const
const profile = () => z.strictObject({
  ...person(),
  language: z.string().optional(),
  timeZone: z.string().optional(),
  fields: z.record(z.string(), z.unknown()).meta({ title: 'fields' }).optional(),
  visible: z.enum(visibilities).optional(),
  findable: z.enum(findables).optional()
})

/** Searches lay names open: each is worth so many large requests beside its own. */
const searchWorth = 4

export const peopleGet = request({
  name: 'people.get',
  text: 'what a user says of themselves, as far as you may see it; `visible` and `findable` are your own alone, see "People"',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/people/{user}'],
  query: true,
  params: () => z.object({ user: id() }),
  result: profile,
  run: ({ profiles }, caller, { user }) => profiles.get(caller.user, user)
})

export const peopleList = request({
  name: 'people.list',
  text: 'of many users what everybody sees; those that there are not are left out',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/people'],
  query: true,
  params: () => z.object({ users: ids() }),
  result: () => z.strictObject({ people: z.array(z.strictObject(person())) }),
  worth: ({ users }) => worthOf(users),
  run: async ({ profiles }, { user, pause }, { users }) => ({ people: await profiles.list(user, users, pause) })
})

export const peopleSearch = request({
  name: 'people.search',
  text: 'users whose id or nickname is `text` or begins with it, as far as they want to be found; counts as five',
  permission: 'user',
  rate: 'heavy',
  http: ['GET /v1/people'],
  query: true,
  params: () => z.object({ text: text(64), limit: limit(20, 50), after: after() }),
  result: () => z.strictObject({ people: z.array(z.strictObject(person())), next: z.string().optional() }),
  worth: () => searchWorth,
  run: ({ profiles }, { user, pause }, { text, ...page }) => profiles.search(text, { user, ...page }, pause)
})

export const peopleSet = request({
  name: 'people.set',
  text: 'your profile; what is not given stays, `""` and `{}` remove',
  permission: 'user',
  rate: 'heavy',
  http: ['PUT /v1/profile'],
  query: false,
  params: () => z.object({
    nickname: nickname().optional(),
    avatar: avatar().optional(),
    language: languageTag().optional(),
    timeZone: timeZone().optional(),
    fields: profileFields().optional(),
    visible: oneOf([...visibilities, 'default']).optional(),
    findable: oneOf([...findables, 'default']).optional()
  }),
  result: profile,
  run: ({ profiles }, caller, change) => profiles.set(caller.user, change, caller)
})
