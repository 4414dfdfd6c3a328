import { StoreUnavailableError } from '../../store/errors.ts'

/** The store did not take a commit; nothing of it is visible. */
export class StoreFailure extends StoreUnavailableError {
  override readonly name = 'StoreFailure'
  constructor (cause: unknown) { super('the store failed', { cause }) }
}
