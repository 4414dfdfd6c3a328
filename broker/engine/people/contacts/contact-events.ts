/** What the devices of both hear of a contact, also those that were away. */
import type { Operation } from '../../../store/store.ts'
import type { EngineHost } from '../../host.ts'

/** What the other one is to the user after it: a newer event replaces the older one, so each says all. */
export type ContactState = 'contact' | 'asked' | 'asks' | 'none'
export interface ContactEvent { action: 'request' | 'accept' | 'refuse' | 'remove' | 'cancel' | 'set', by: string, more?: object }
export interface Told { user: string, other: string, state: ContactState }

/** Tells them in one commit. */
export async function tell (host: Pick<EngineHost, 'now' | 'commit'>, { action, by, more }: ContactEvent, told: readonly Told[]): Promise<void> {
  const ts = host.now()
  await host.commit(told.map(({ user, other, state }): Operation => (
    { op: 'event', user, slot: `contact ${other}`, ts, content: JSON.stringify({ kind: 'contact', action, user: other, state, by, ts, ...more }) })))
}
