/** `sabethes user add|passwd|list|ban|unban|rm`: on the running server, or on its store when none runs. */
import type { AccountInfo } from '../http/control-target.ts'
import { isId } from '../topics.ts'
import { newPassword } from './password.ts'
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { columns, CommandError, print, say, type Terminal } from './terminal.ts'

export interface PasswordOptions extends CommonOptions { passwordFile?: string, password?: boolean }

const pageSize = 500

export async function add (terminal: Terminal, uid: string, options: PasswordOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  checkId(uid)
  const password = options.password === false ? undefined : await newPassword(terminal, options.passwordFile)
  if (password === undefined && config.auth.mode === 'password') throw new CommandError('a password is needed (auth.mode is password)')
  await withTarget(terminal, config, target => target.users.add(uid, password))
  print(terminal, options.json, { ok: true, user: uid }, `added ${uid}`)
}

export async function passwd (terminal: Terminal, uid: string, options: PasswordOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  checkId(uid)
  const password = await newPassword(terminal, options.passwordFile)
  if (password === undefined) throw new CommandError('the password is empty')
  await withTarget(terminal, config, target => target.users.passwd(uid, password))
  print(terminal, options.json, { ok: true, user: uid }, `new password for ${uid}; its connections were closed`)
}

export async function list (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  await withTarget(terminal, config, async target => {
    const { mode } = await target.status()
    let after: string | undefined
    for (;;) {
      const page = await target.users.list({ ...(after === undefined ? {} : { after }), limit: pageSize })
      for (const user of page) if (options.json === true) print(terminal, true, user)
      if (options.json !== true && page.length > 0) print(terminal, false, undefined, columns(page.map(row)))
      after = page.at(-1)?.uid
      if (page.length < pageSize) break
    }
    if (mode === 'dev') say(terminal, "auth.mode is dev: everybody is let in without an account, and leaves none; listed is who was added or banned with 'sabethes user'")
  })
}

function row ({ uid, createdAt, banned, hasPassword }: AccountInfo): string[] {
  return [uid, new Date(createdAt).toISOString().slice(0, 10), hasPassword ? 'password' : 'no password', banned ? 'banned' : '']
}

export async function ban (terminal: Terminal, uid: string, banned: boolean, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  checkId(uid)
  await withTarget(terminal, config, target => target.users.ban(uid, banned))
  print(terminal, options.json, { ok: true, user: uid, banned }, `${banned ? 'banned' : 'unbanned'} ${uid}`)
}

export async function remove (terminal: Terminal, uid: string, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  checkId(uid)
  await withTarget(terminal, config, target => target.users.remove(uid))
  print(terminal, options.json, { ok: true, user: uid }, `removed ${uid}; its messages stay`)
}

function checkId (uid: string): void {
  if (!isId(uid)) throw new CommandError('a user id is 1 to 64 of A-Z a-z 0-9 . _ -', 2)
}
