import type { FastifyRequest } from 'fastify'
import type { Asked } from '../../gateway/visits.ts'
import type { SignedIn, Verdict } from '../../link/port.ts'

/** What the routes ask for. */
export interface ApiDesk {
  readonly maxBodyBytes: number
  readonly maxMessageBytes: number
  /** Resolves to what the engine says; refusals are thrown. */
  ask (request: FastifyRequest, asked: Asked): Promise<Extract<Verdict, { ok: true }>>
  userOf (request: FastifyRequest): string
  /** Who asks, for more than a moment: from now on it is no request that is served. To be called in the turn in which its part takes over. */
  release (request: FastifyRequest): SignedIn
}
