/** The command line: verbs and their options. Each verb's file is loaded when it runs. */
import { debuglog } from 'node:util'
import { Command, CommanderError } from 'commander'
import { suggest } from '../config/suggestion.ts'
import { Refusal } from '../errors.ts'
import type { KeepAliveCommandOptions } from './keepalive.ts'
import type { BenchOptions } from './bench.ts'
import type { DoctorOptions } from './doctor.ts'
import type { AddOptions, LagOptions, TailOptions } from './feed.ts'
import { userOptions, type UserOptions } from './chat.ts'
import type { ListOptions, RequestOptions, SetOptions as ContactOptions } from './contact.ts'
import type { SetOptions } from './people.ts'
import type { ExportOptions, ImportOptions, MigrateOptions } from './migrate.ts'
import type { PluginOptions } from './plugin.ts'
import { commonOptions, portOptions, type CommonOptions } from './settings.ts'
import { clipped, CommandError, printable, type Terminal } from './terminal.ts'
import { packageVersion } from '../version.ts'

const debug = debuglog('sabethes')

/** Runs `sabethes` with the arguments after its name. Resolves to the exit code: 0 done, 1 refused or failed, 2 wrong usage. */
export async function run (args: readonly string[], terminal: Terminal): Promise<number> {
  const outcome = { code: 0 }
  const program = define(terminal, outcome)
  const [first] = args
  const verbs = program.commands.map(command => command.name())
  if (first !== undefined && !first.startsWith('-') && first !== 'help' && !verbs.includes(first)) {
    const near = suggest(first, verbs)
    terminal.stderr.write(`sabethes: no such command: ${clipped(printable(first))}${near === undefined ? '' : `; did you mean ${near}?`} ('sabethes help' lists them)\n`)
    return 2
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return outcome.code
  } catch (error) {
    // Commander has said what is wrong; asking for help or the version is not an error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    return report(error, terminal, args.includes('--json'))
  }
}

function report (error: unknown, terminal: Terminal, json: boolean): number {
  debug('%s', error instanceof Error ? error.stack : error)
  const message = error instanceof Error ? error.message : String(error)
  const isConfig = error instanceof Error && error.name === 'ConfigError'
  const exitCode = isConfig ? 2 : error instanceof CommandError ? error.exitCode : 1
  if (json) {
    const code = error instanceof Refusal ? error.code : isConfig ? 'config' : exitCode === 2 ? 'usage' : 'failed'
    const problems = isConfig ? { problems: (error as Error & { problems?: unknown }).problems } : {}
    const retry = error instanceof Refusal && error.retryAfterMs !== undefined ? { retryAfterMs: error.retryAfterMs } : {}
    terminal.stdout.write(JSON.stringify({ ok: false, code, reason: message, ...retry, ...problems }) + '\n')
  }
  const prefix = error instanceof Refusal ? `refused (${error.code}): ` : ''
  for (const line of message.split('\n')) terminal.stderr.write(`sabethes: ${prefix}${clipped(printable(line))}\n`)
  return exitCode
}

function define (terminal: Terminal, outcome: { code: number }): Command {
  const program = new Command('sabethes')
    .description('Instant messaging on plain MQTT. Without a command it serves.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    .configureOutput({ writeOut: text => { terminal.stdout.write(text) }, writeErr: text => { terminal.stderr.write(text.split('\n').map(line => clipped(printable(line))).join('\n')) } })
    .showSuggestionAfterError()
    .enablePositionalOptions()

  portOptions(commonOptions(program.command('serve', { isDefault: true }).description('run the server (the default)')))
    .action(async (options: CommonOptions) => { outcome.code = await (await import('./serve.ts')).serve(terminal, options) })
  configVerbs(program, terminal)
  accountVerbs(program, terminal)
  groupVerbs(program, terminal)
  peopleVerbs(program, terminal)
  contactVerbs(program, terminal)
  chatVerbs(program, terminal)
  watchingVerbs(program, terminal, outcome)
  storeVerbs(program, terminal, outcome)
  feedVerbs(program, terminal)
  verb(program.command('plugin').description('plugins'), 'list', 'the order in which plugins run')
    .option('--load', 'when no server runs: run the code of the modules that the configuration names, to list what they say of themselves')
    .action(async (options: PluginOptions) => { await (await import('./plugin.ts')).list(terminal, options) })
  return program
}

function verb (parent: Command, usage: string, text: string): Command { return commonOptions(parent.command(usage).description(text)) }
function userVerb (parent: Command, usage: string, text: string): Command { return userOptions(verb(parent, usage, text)) }
function passwordFile (command: Command): Command {
  return command.option('--password-file <file>', 'file with the password, - for standard input; without it: asked for, or standard input')
}

function configVerbs (program: Command, terminal: Terminal): void {
  const config = program.command('config').description('look at the configuration')
  portOptions(verb(config, 'check', 'find mistakes')).option('--load', 'also run the code of plugins that are modules, to check their options')
    .action(async (options: CommonOptions & { load?: boolean }) => { await (await import('./config.ts')).check(terminal, options) })
  portOptions(verb(config, 'show', 'print the effective configuration, with where each value that is not the default comes from'))
    .action(async (options: CommonOptions) => { await (await import('./config.ts')).show(terminal, options) })
  config.command('schema').description('print the JSON Schema of sabethes.yaml, for editors').option('--json', 'the same: it is JSON')
    .action(async () => { await (await import('./config.ts')).schema(terminal) })
  config.command('env').description('print the environment variable of each key').option('--json', 'as JSON').option('--markdown', 'as tables')
    .action(async (options: { json?: boolean, markdown?: boolean }) => { await (await import('./config.ts')).env(terminal, options) })
}

function accountVerbs (program: Command, terminal: Terminal): void {
  const user = program.command('user').description('accounts')
  passwordFile(verb(user, 'add <user>', 'add an account')).option('--no-password', 'without a password (dev mode)')
    .action(async (uid: string, options: CommonOptions) => { await (await import('./user.ts')).add(terminal, uid, options) })
  passwordFile(verb(user, 'passwd <user>', 'set a new password'))
    .action(async (uid: string, options: CommonOptions) => { await (await import('./user.ts')).passwd(terminal, uid, options) })
  verb(user, 'list', 'list the accounts')
    .action(async (options: CommonOptions) => { await (await import('./user.ts')).list(terminal, options) })
  verb(user, 'ban <user>', 'disconnect a user and keep them out')
    .action(async (uid: string, options: CommonOptions) => { await (await import('./user.ts')).ban(terminal, uid, true, options) })
  verb(user, 'unban <user>', 'let a banned user in again')
    .action(async (uid: string, options: CommonOptions) => { await (await import('./user.ts')).ban(terminal, uid, false, options) })
  verb(user, 'rm <user>', 'remove an account; its messages stay')
    .action(async (uid: string, options: CommonOptions) => { await (await import('./user.ts')).remove(terminal, uid, options) })
}

function groupVerbs (program: Command, terminal: Terminal): void {
  const group = program.command('group').description('groups, as a user')
  userVerb(group, 'create <group> [members...]', 'create a group').option('--name <text>', 'its name (default: the id)')
    .action(async (gid: string, members: string[], options: UserOptions) => { await (await import('./group.ts')).create(terminal, gid, members, options) })
  userVerb(group, 'add <group> <users...>', 'add members')
    .action(async (gid: string, users: string[], options: UserOptions) => { await (await import('./group.ts')).change(terminal, 'add', gid, users, options) })
  userVerb(group, 'rm <group> <users...>', 'remove members')
    .action(async (gid: string, users: string[], options: UserOptions) => { await (await import('./group.ts')).change(terminal, 'remove', gid, users, options) })
  userVerb(group, 'list', "list the user's groups")
    .action(async (options: UserOptions) => { await (await import('./group.ts')).list(terminal, options) })
}

function peopleVerbs (program: Command, terminal: Terminal): void {
  const people = program.command('people').description('what people say of themselves, as a user')
  userVerb(people, 'show [other]', "show a user's profile (default: the user's own)")
    .action(async (other: string | undefined, options: UserOptions) => { await (await import('./people.ts')).show(terminal, other, options) })
  userVerb(people, 'set', "change the user's profile; an empty text removes what was said")
    .option('--nickname <text>', 'the name that others see')
    .option('--avatar <url>', 'where the picture is')
    .option('--language <tag>', 'such as pt-BR')
    .option('--time-zone <name>', 'such as Europe/Berlin')
    .option('--field <name=text...>', 'fields of your own making: all of them anew')
    .option('--visible <whom>', 'who sees language, time zone and fields: everybody, contacts, nobody or default')
    .option('--findable <how>', 'who finds the user: by the beginning of a name (prefix), by the whole of it (exact), nobody or default')
    .action(async (options: SetOptions) => { await (await import('./people.ts')).set(terminal, options) })
  userVerb(people, 'search <text>', 'find users by the beginning of id or nickname, as far as they want to be found')
    .action(async (text: string, options: UserOptions) => { await (await import('./people.ts')).search(terminal, text, options) })
}

function contactVerbs (program: Command, terminal: Terminal): void {
  const contact = program.command('contact').description('contacts, as a user')
  userVerb(contact, 'request <other>', 'ask to be a contact').option('--text <word>', 'a word to go with it')
    .action(async (other: string, options: RequestOptions) => { await (await import('./contact.ts')).change(terminal, 'request', other, options) })
  userVerb(contact, 'requests', 'list the requests that are open')
    .action(async (options: UserOptions) => { await (await import('./contact.ts')).requests(terminal, options) })
  userVerb(contact, 'accept <other>', 'accept a request')
    .action(async (other: string, options: UserOptions) => { await (await import('./contact.ts')).change(terminal, 'accept', other, options) })
  userVerb(contact, 'refuse <other>', 'refuse a request')
    .action(async (other: string, options: UserOptions) => { await (await import('./contact.ts')).change(terminal, 'refuse', other, options) })
  userVerb(contact, 'rm <other>', 'remove a contact, or take a request back')
    .action(async (other: string, options: UserOptions) => { await (await import('./contact.ts')).change(terminal, 'remove', other, options) })
  userVerb(contact, 'set <other>', 'what the user calls a contact, and where they put it; an empty text removes')
    .option('--remark <text>', 'another name').option('--groups <names...>', 'groups of contacts, all of them anew')
    .action(async (other: string, options: ContactOptions) => { await (await import('./contact.ts')).set(terminal, other, options) })
  userVerb(contact, 'list', "list the user's contacts").option('--group <name>', 'those in this group')
    .action(async (options: ListOptions) => { await (await import('./contact.ts')).list(terminal, options) })
  userVerb(contact, 'mode [whom]', 'show or say of whom the user takes messages and invitations: everybody, contacts, nobody (contacts, and no requests) or default')
    .action(async (whom: string | undefined, options: UserOptions) => { await (await import('./contact.ts')).mode(terminal, whom, options) })
}

function chatVerbs (program: Command, terminal: Terminal): void {
  userVerb(program, 'send <to> <text>', "send a message to a user (bob) or a group (g/dev); the text '-' is standard input")
    .option('--type <type>', 'the type of the message; json: the text is JSON; of a type of your own, an object or a list is JSON', 'text')
    .option('--cid <id>', 'client message id: sent again with the same one, a message is stored once')
    .action(async (to: string, text: string, options: UserOptions & { type: string }) => { await (await import('./send.ts')).send(terminal, to, text, options) })
  userVerb(program, 'listen', 'show what arrives for a user')
    .option('--events', 'also receipts and membership changes')
    .option('-n, --count <number>', 'stop after so many')
    .option('--client-id <id>', 'a device with a name: its session stays, and goes on where it stopped')
    .action(async (options: UserOptions) => { await (await import('./listen.ts')).listen(terminal, options) })
  userVerb(program, 'history <conversation>', 'messages with a user (bob), of a group (g/dev) or of a conversation id')
    .option('--before <seq>', 'older than this number').option('--after <seq>', 'newer than this number').option('--limit <number>', 'at most so many')
    .action(async (conversation: string, options: UserOptions) => { await (await import('./history.ts')).history(terminal, conversation, options) })
}

/** How a running server is, and how fast. */
function watchingVerbs (program: Command, terminal: Terminal, outcome: { code: number }): void {
  verb(program, 'status', 'how the server is').option('--url <url>', 'a server elsewhere: http://host:port')
    .action(async (options: CommonOptions) => { await (await import('./status.ts')).status(terminal, options) })
  verb(program, 'nodes', 'the servers that work as one with the server on this machine')
    .action(async (options: CommonOptions) => { await (await import('./nodes.ts')).nodes(terminal, options) })
  verb(program, 'drain', 'send the clients of the server on this machine to the other servers, then end it')
    .action(async (options: CommonOptions) => { await (await import('./drain.ts')).drain(terminal, options) })
  verb(program, 'bench', 'measure a running server with ordinary clients; needs accounts {prefix}s1, {prefix}r1, … unless auth.mode is dev')
    .option('--url <url>', 'the server (default: the one that runs on the data folder, else the configured one, mqtt://127.0.0.1:1883)')
    .option('--user-prefix <text>', 'how the names of its users begin', 'bench-')
    .option('--password-file <file>', 'file with the password of all of them, - for standard input (or SABETHES_PASSWORD, SABETHES_PASSWORD_FILE)')
    .option('--pairs <number>', 'senders, each with a receiver', '10')
    .option('--seconds <number>', 'how long', '5')
    .option('--rate <number>', 'messages a second in all; 0 is as many as come back', '0')
    .action(async (options: BenchOptions) => { outcome.code = await (await import('./bench.ts')).bench(terminal, options) })
}

/** What the operator does with the store. */
function storeVerbs (program: Command, terminal: Terminal, outcome: { code: number }): void {
  verb(program, 'backup <folder>', 'copy the store into an empty folder, while the server runs or not')
    .action(async (folder: string, options: CommonOptions) => { await (await import('./backup.ts')).backup(terminal, folder, options) })
  verb(program, 'restore <folder>', 'put a backup in the place of the data folder; the server must not run')
    .option('--force', 'move a data folder that is not empty aside')
    .action(async (folder: string, options: CommonOptions) => { await (await import('./restore.ts')).restore(terminal, folder, options) })
  verb(program, 'migrate', 'move the content of a store to another backend, and compare; goes on where it was interrupted')
    .option('--from <store>', "level:FOLDER, mongodb://HOST/DATABASE, file:EXPORT, or 'config' for the configured store; without it the target only gets its indexes")
    .option('--to <store>', 'the same; empty')
    .action(async (options: MigrateOptions) => { await (await import('./migrate.ts')).migrate(terminal, options) })
  verb(program, 'export <file>', 'write the content of the store as lines of JSON, packed when the name ends in .gz; goes on where it was interrupted; the server must not run')
    .option('--from <store>', 'level:FOLDER, mongodb://HOST/DATABASE, or the configured one', 'config')
    .action(async (file: string, options: ExportOptions) => { await (await import('./migrate.ts')).exportStore(terminal, file, options) })
  verb(program, 'import <file>', 'fill an empty store from an export, and compare; goes on where it was interrupted; the server must not run')
    .option('--to <store>', 'level:FOLDER, mongodb://HOST/DATABASE, or the configured one', 'config')
    .action(async (file: string, options: ImportOptions) => { await (await import('./migrate.ts')).importStore(terminal, file, options) })
  portOptions(verb(program, 'doctor', 'look for what keeps a server from working here; exit code 1 when something is wrong'))
    .option('--deep', 'read every row of the embedded store and say what is damaged (the server must not run)')
    .action(async (options: DoctorOptions) => { outcome.code = await (await import('./doctor.ts')).doctor(terminal, options) })
  verb(program, 'keepalive', 'show or change the keep alive that clients are advised, by network, on the running server or for its next start')
    .option('--wifi <seconds>', 'on Wi-Fi and cables')
    .option('--cellular <seconds>', 'on mobile networks')
    .option('--nat <seconds>', 'behind what ends quiet connections early')
    .option('--reset', 'what is not named here: as configured (mqtt.keepAlive)')
    .action(async (options: KeepAliveCommandOptions) => { await (await import('./keepalive.ts')).keepalive(terminal, options) })
  verb(program, 'purge', 'remove messages past messages.retentionSeconds now')
    .action(async (options: CommonOptions) => { await (await import('./purge.ts')).purge(terminal, options) })
}

function feedVerbs (program: Command, terminal: Terminal): void {
  const feed = program.command('feed').description('what is committed, for readers that must miss nothing')
  verb(feed, 'readers', 'list the readers, and how far they are behind')
    .action(async (options: CommonOptions) => { await (await import('./feed.ts')).readers(terminal, options) })
  verb(feed, 'lag', 'the same; exit code 1 when a reader is behind').option('--max <number>', 'by more than so many entries', '0')
    .action(async (options: LagOptions) => { await (await import('./feed.ts')).lag(terminal, options) })
  verb(feed, 'tail', 'show what is committed, until Ctrl-C')
    .option('--reader <name>', 'as this reader, made when it is not there: acknowledges what it shows, and goes on there the next time')
    .option('--from <place>', 'where a new reader begins: now, or the oldest that is kept for others', 'now')
    .option('--count <number>', 'stop after so many entries')
    .action(async (options: TailOptions) => { await (await import('./feed.ts')).tail(terminal, options) })
  verb(feed, 'add <reader>', 'make a reader; what is committed from now on waits for it')
    .option('--from <place>', 'where it begins: now, or the oldest that is kept for others', 'now')
    .action(async (name: string, options: AddOptions) => { await (await import('./feed.ts')).add(terminal, name, options) })
  verb(feed, 'remove <reader>', 'end a reader: nothing waits for it any more')
    .action(async (name: string, options: CommonOptions) => { await (await import('./feed.ts')).remove(terminal, name, options) })
}
