/** Programs and packages outside the repository that some tests need. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'

/** True when the program is on the PATH. */
export function found (name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some(folder => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch (cause) {
      if (cause instanceof Error) return false
      throw cause
    }
  })
}

/** Skips the test aloud; fails it when `CI` is set. */
export function absent (t: Test, text: string): false {
  if (process.env.CI !== undefined && process.env.CI !== '') t.fail(`${text} (CI must have it)`)
  else t.pass(text, { skip: 'NOT TESTED HERE' })
  return false
}

/** True when the program is on the PATH. Otherwise the test is skipped with a message, and fails when `CI` is set. */
export function requireTool (t: Test, name: string): boolean {
  return found(name) || absent(t, `the program '${name}' is not installed`)
}

/** The default export of a package that may be absent; `undefined` skips the test (fails it when `CI` is set). */
export async function requirePackage (t: Test, name: string): Promise<unknown> {
  try {
    const loaded = await import(name) as { default: unknown }
    return loaded.default
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    absent(t, `the package '${name}' is not installed`)
    return undefined
  }
}
