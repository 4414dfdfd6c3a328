/** Holds what is answered against the table of operations, which topics.md is made from. */
import { requests } from '../../broker/operations.ts'

/** Throws when a result is not what the operation's schema says. */
export function checkResult (name: string, result: unknown): void {
  const operation = requests.get(name)
  if (operation === undefined) throw new Error(`${name} was answered and is no operation`)
  const checked = operation.result.safeParse(result)
  if (checked.success) return
  const [issue] = checked.error.issues
  throw new Error(`the result of ${name} is not as documented: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
}
