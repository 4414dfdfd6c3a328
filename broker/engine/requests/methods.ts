/** What the request methods are built on. */
import type { Blocks } from '../people/blocks.ts'
import type { Consents } from '../groups/consent.ts'
import type { Expiry } from '../messages/expiry.ts'
import type { Groups } from '../groups/groups.ts'
import type { Method } from '../host.ts'
import type { Marks } from '../reading/marks.ts'

export interface Parts { marks: Marks, consents: Consents, expiry: Expiry, groups: Groups, blocks: Blocks, serverInfo: () => Record<string, unknown> }

/** Methods by name. */
export type Methods = Array<[string, Method]>
