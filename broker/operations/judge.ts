/** Judges what was given by the schema of an operation's parameters. */
import type { z } from 'zod'
import { Refusal } from '../errors.ts'
import type { Code } from '../errors.ts'

/** A schema that refuses with another code than `bad_payload` says so in the `params` of its issue. */
type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'> & { params?: { code?: Code } | undefined }

/**
 * Makes the reader of an operation's parameters. It gives them as the schema has them, or throws `Refusal` (`bad_payload` as a rule) that names
 * the first one that is wrong. What is `null` counts as not given; what the schema does not know is passed over. `hint` follows the reason.
 */
export function reader<Params extends z.ZodObject> (schema: Params, hint = ''): (given: Record<string, unknown>) => z.output<Params> {
  const names = Object.keys(schema.shape)
  return given => {
    const result = schema.safeParse(names.some(name => given[name] === null) ? withoutNulls(given, names) : given)
    if (result.success) return result.data
    const issue = firstOf(result.error.issues, names)
    throw new Refusal(issue.params?.code ?? 'bad_payload', `${String(issue.path[0])}: ${issue.message}${hint}`)
  }
}

function withoutNulls (given: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter(name => given[name] !== null && given[name] !== undefined).map(name => [name, given[name]]))
}

/** That of the parameter that the schema names first. There are no more issues than parameters. */
function firstOf (issues: readonly Issue[], names: readonly string[]): Issue {
  const place = ({ path }: Issue): number => names.indexOf(String(path[0]))
  return issues.reduce((first, issue) => place(issue) < place(first) ? issue : first)
}
