/** An example of each request of the table, and what there has to be for it. */

type Params = Record<string, unknown>
/** Where alice can ask before. */
interface World { ask (user: string, method: string, params: Params): Promise<unknown> }
/** A request of alice's and what its result holds; one that is refused, and the code and the parameter that is named. */
export interface Example { good: Params | ((world: World) => Promise<Params>), mode?: 'password', result: object, bad: Params, refusal: [code: string, parameter: string] }

export const conv = 'd:alice:bob'
const login = async (world: World): Promise<Params> => await world.ask('alice', 'tokens.create', { password: 'a secret' }) as Params

/** Of `crowd` alice is the owner, of `theirs` a member; `asked` has invited her. */
export const examples: Record<string, Example> = {
  'account.password': { mode: 'password', good: { password: 'a secret', newPassword: 'another' }, result: { user: 'alice' }, bad: { password: 'a secret' }, refusal: ['bad_payload', 'newPassword'] },
  'blocks.add': { good: { user: 'eve' }, result: { user: 'eve', blocked: true }, bad: { user: 'e v e' }, refusal: ['bad_payload', 'user'] },
  'blocks.list': { good: {}, result: { users: ['mallory'] }, bad: {}, refusal: ['', ''] },
  'blocks.remove': { good: { user: 'mallory' }, result: { user: 'mallory', blocked: false }, bad: {}, refusal: ['bad_payload', 'user'] },
  'contacts.accept': { good: { user: 'zoe' }, result: { user: 'zoe', state: 'contact' }, bad: {}, refusal: ['bad_payload', 'user'] },
  'contacts.list': { good: { group: 'work' }, result: { contacts: [{ user: 'dora', groups: ['work'] }] }, bad: { limit: 501 }, refusal: ['bad_payload', 'limit'] },
  'contacts.mode': { good: { mode: 'contacts' }, result: { mode: 'contacts' }, bad: { mode: 'friends' }, refusal: ['bad_payload', 'mode'] },
  'contacts.refuse': { good: { user: 'zoe' }, result: { user: 'zoe', state: 'none' }, bad: { user: 7 }, refusal: ['bad_payload', 'user'] },
  'contacts.remove': { good: { user: 'dora' }, result: { user: 'dora', state: 'none' }, bad: {}, refusal: ['bad_payload', 'user'] },
  'contacts.request': { good: { user: 'bob', text: 'we met' }, result: { user: 'bob', state: 'asked' }, bad: { user: 'bob', text: 'x'.repeat(257) }, refusal: ['bad_payload', 'text'] },
  'contacts.requests': { good: {}, result: { received: [{ user: 'zoe', text: 'hi' }], sent: [] }, bad: {}, refusal: ['', ''] },
  'contacts.set': { good: { user: 'dora', remark: 'Dee' }, result: { user: 'dora', remark: 'Dee', groups: ['work'] }, bad: { user: 'dora', groups: [''] }, refusal: ['bad_payload', 'groups'] },
  'conversations.clear': { good: { conv }, result: { conv, clearedSeq: 3 }, bad: { conv: 'd:bob:alice' }, refusal: ['bad_payload', 'conv'] },
  'conversations.list': { good: { limit: 1 }, result: { conversations: { length: 1 }, unread: 1, next: String }, bad: { limit: 1001 }, refusal: ['bad_payload', 'limit'] },
  'conversations.mute': { good: { with: 'bob' }, result: { conv, muted: true }, bad: { with: 'bob', on: 1 }, refusal: ['bad_payload', 'on'] },
  'conversations.pin': { good: { conv, on: false }, result: { conv, pinned: false }, bad: { on: true }, refusal: ['bad_payload', 'conv'] },
  'groups.accept': { good: { gid: 'asked' }, result: { gid: 'asked', conv: 'g:asked' }, bad: { gid: '' }, refusal: ['bad_payload', 'gid'] },
  'groups.add': { good: { gid: 'crowd', users: ['dora', 'bob'] }, result: { added: ['dora'], invited: [], refused: [] }, bad: { gid: 'crowd' }, refusal: ['bad_payload', 'users'] },
  'groups.consent': { good: { consent: 'nobody' }, result: { consent: 'nobody' }, bad: { consent: 'some' }, refusal: ['bad_payload', 'consent'] },
  'groups.create': { good: { gid: 'new', members: ['bob'] }, result: { gid: 'new', conv: 'g:new', name: 'new', owner: 'alice', size: 2, added: ['bob'] }, bad: { meta: { fill: 'x'.repeat(5000) } }, refusal: ['too_large', 'meta'] },
  'groups.dissolve': { good: { gid: 'crowd' }, result: { gid: 'crowd' }, bad: { gid: 7 }, refusal: ['bad_payload', 'gid'] },
  'groups.info': { good: { gid: 'crowd' }, result: { gid: 'crowd', conv: 'g:crowd', owner: 'alice', role: 'owner', size: 2 }, bad: { gid: 'crowd', after: '' }, refusal: ['bad_payload', 'after'] },
  'groups.invitations': { good: {}, result: { invitations: [{ gid: 'asked', by: 'zoe' }] }, bad: {}, refusal: ['', ''] },
  'groups.leave': { good: { gid: 'theirs' }, result: { gid: 'theirs' }, bad: {}, refusal: ['bad_payload', 'gid'] },
  'groups.list': { good: {}, result: { groups: [{ gid: 'crowd', conv: 'g:crowd', role: 'owner', size: 2 }, { gid: 'theirs', role: 'member' }] }, bad: { limit: 0 }, refusal: ['bad_payload', 'limit'] },
  'groups.refuse': { good: { gid: 'asked' }, result: { gid: 'asked' }, bad: {}, refusal: ['bad_payload', 'gid'] },
  'groups.remove': { good: { gid: 'crowd', members: ['bob', 'nobody'] }, result: { removed: ['bob'] }, bad: { gid: 'crowd', users: Array.from({ length: 1001 }, (_, i) => `u${i}`) }, refusal: ['too_large', 'users'] },
  'groups.role': { good: { gid: 'crowd', user: 'bob', role: 'admin' }, result: { gid: 'crowd', user: 'bob', role: 'admin' }, bad: { gid: 'crowd', user: 'bob', role: 'king' }, refusal: ['bad_payload', 'role'] },
  'messages.delete': { good: { conv, seqs: [1, 1, 2] }, result: { conv, deleted: 2 }, bad: { conv, seqs: [0] }, refusal: ['bad_payload', 'seqs'] },
  'messages.history': { good: { conv, limit: 2 }, result: { conv, head: 3, messages: [{ seq: 2 }, { seq: 3, body: 'three' }], more: true, before: 2 }, bad: { conv, after: '1' }, refusal: ['bad_payload', 'after'] },
  'messages.reads': { good: { conv, seq: 2 }, result: { conv, seq: 2, read: ['bob'], delivered: [] }, bad: { conv }, refusal: ['bad_payload', 'seq'] },
  'people.get': { good: { user: 'bob' }, result: { user: 'bob', nickname: 'bob', language: 'de' }, bad: { user: 'b o b' }, refusal: ['bad_payload', 'user'] },
  'people.list': { good: { users: ['bob', 'eve', 'bob'] }, result: { people: [{ user: 'bob', nickname: 'bob' }, { user: 'eve' }] }, bad: { users: [''] }, refusal: ['bad_payload', 'users'] },
  'people.search': { good: { text: 'bob' }, result: { people: [{ user: 'bob', nickname: 'bob' }] }, bad: { text: '' }, refusal: ['bad_payload', 'text'] },
  'people.set': { good: { nickname: 'Ali', timeZone: 'Europe/Berlin', fields: { team: 'red' } }, result: { user: 'alice', nickname: 'Ali', timeZone: 'Europe/Berlin', fields: { team: 'red' }, visible: 'contacts', findable: 'exact' }, bad: { avatar: 'javascript:alert()' }, refusal: ['bad_payload', 'avatar'] },
  'server.info': { good: {}, result: { name: 'sabethes', version: '1.2.3', prefix: 'im', mode: 'dev', limits: { maxBlocks: 3 } }, bad: {}, refusal: ['', ''] },
  'server.keepalive': { good: { wifi: 60 }, result: { wifi: 60, cellular: 230, nat: 55 }, bad: { wifi: 9 }, refusal: ['bad_payload', 'wifi'] },
  sync: { good: { convs: { [conv]: 2 }, limit: 1 }, result: { conversations: [{ conv, head: 3, last: 3, messages: [{ seq: 3 }] }], more: true }, bad: { convs: { x: 1 } }, refusal: ['bad_payload', 'convs'] },
  'tokens.create': { mode: 'password', good: { password: 'a secret', platform: 'phone' }, result: { id: String, accessToken: /^sa~alice~/, refreshToken: /^sr~alice~/, ended: [] }, bad: { password: 'a secret', platform: 'Phone' }, refusal: ['bad_payload', 'platform'] },
  'tokens.list': { mode: 'password', good: login, result: { logins: [{ expiresAt: Number }] }, bad: {}, refusal: ['', ''] },
  'tokens.refresh': { mode: 'password', good: login, result: { id: String, accessToken: /^sa~alice~/ }, bad: { refreshToken: '' }, refusal: ['bad_payload', 'refreshToken'] },
  'tokens.revoke': { mode: 'password', good: login, result: { ended: { length: 1 } }, bad: {}, refusal: ['bad_payload', 'id'] },
  unread: { good: {}, result: { conversations: { [conv]: 1 }, total: 1 }, bad: {}, refusal: ['', ''] }
}

/** Messages, and then requests, that make the world of the examples. */
export const said = [{ from: 'alice', to: 'bob', text: 'one' }, { from: 'alice', to: 'bob', text: 'two' }, { from: 'bob', to: 'alice', text: 'three' }] as const
export const done: ReadonlyArray<{ by: string, method: string, params: Params }> = [
  { by: 'alice', method: 'groups.create', params: { gid: 'crowd', members: ['bob'] } },
  { by: 'zoe', method: 'groups.create', params: { gid: 'theirs', members: ['alice'] } },
  { by: 'alice', method: 'groups.consent', params: { consent: 'known' } },
  { by: 'zoe', method: 'groups.create', params: { gid: 'asked', members: ['alice'] } },
  { by: 'alice', method: 'blocks.add', params: { user: 'mallory' } },
  { by: 'dora', method: 'contacts.request', params: { user: 'alice' } },
  { by: 'alice', method: 'contacts.accept', params: { user: 'dora' } },
  { by: 'alice', method: 'contacts.set', params: { user: 'dora', groups: ['work'] } },
  { by: 'zoe', method: 'contacts.request', params: { user: 'alice', text: 'hi' } },
  { by: 'bob', method: 'people.set', params: { nickname: 'bob', language: 'de', visible: 'everybody', findable: 'prefix' } }
]
