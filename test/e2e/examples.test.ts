/** The chat of `examples/` in Python, Go and Node: with each other, with mosquitto's commands, over ends of the server and of their own. */
import t from 'tap'
import type { Test } from 'tap'
import { chats } from '../clients/builds.ts'
import { chatProgram } from '../support/chat-program.ts'
import { merge, wide } from '../support/configs.ts'
import { listen, mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device, type Device } from '../support/mqtt.ts'
import { startServer, type Server } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

// The first time they are built.
t.setTimeout(600_000)
const config = merge(wide, { messages: { receiptIntervalMs: 20 } })
type Language = keyof typeof chats
const users = { alice: 'python', bob: 'go', carol: 'node' } as const satisfies Record<string, Language>
const names = Object.keys(users) as Array<keyof typeof users>
const commands = new Map<Language, string[]>()

/** Each of them does the same, at once. */
async function each (action: (name: keyof typeof users, language: Language) => Promise<void>): Promise<void> {
  await Promise.all(names.map(name => action(name, users[name])))
}

function start (t: Test, server: Server, language: Language, ...args: string[]) {
  return chatProgram(t, commands.get(language) ?? [], '--url', server.url, ...args)
}

/** As a person types it. */
async function pub (t: Test, server: Server, user: string, topic: string, payload: string): Promise<void> {
  const { code, stderr } = await mosquittoPub(server.mqttPort, '-u', user, '-q', '1', '-t', topic, '-m', payload)
  t.equal(code, 0, stderr)
}

/** The next message on a topic with this ending that has these members. */
async function next (user: Device, topic: string, members: Record<string, string>): Promise<Record<string, unknown>> {
  const matches = (message: Record<string, unknown>): boolean => Object.entries(members).every(([name, value]) => message[name] === value)
  const { text } = await user.mail.take(message => message.topic.endsWith(topic) && matches(JSON.parse(message.text) as Record<string, unknown>), 15_000, JSON.stringify(members))
  return JSON.parse(text) as Record<string, unknown>
}

await t.test('the programs', async t => {
  if (!requireMosquitto(t)) return
  for (const [language, { tools, program }] of Object.entries(chats) as Array<[Language, typeof chats[Language]]>) {
    if (!tools.every(tool => requireTool(t, tool))) return
    commands.set(language, await program())
  }
  await t.test('talk to each other, and to mosquitto', talk)
  await t.test('in a group: everybody reads the same in the same order', group)
  await t.test('what is typed while the server is gone is sent when it is back, once', serverGone)
  await t.test('killed, a program comes back to what it has not had, and to nothing else', killed)
  await t.test('a wrong password, and none at all', refusedAtOnce)
})

async function talk (t: Test): Promise<void> {
  const server = await startServer(t, { config })
  const to = { alice: 'bob', bob: 'carol', carol: 'alice' } as const
  const programs = { alice: start(t, server, 'python', '--user', 'alice', '--to', 'bob'), bob: start(t, server, 'go', '--user', 'bob', '--to', 'carol'), carol: start(t, server, 'node', '--user', 'carol', '--to', 'alice') }
  await each(async me => { await programs[me].says('* connected') })
  await each(async me => {
    const [mine, other] = [programs[me], to[me]]
    const shell = await listen(t, server.mqttPort, '-u', other, '-i', 'shell', '-q', '1', '-t', `im/u/${other}/inbox`)
    mine.type(`hello from ${me}`)
    await mine.says('sent #1')
    await programs[other].says(`#1 ${me}: hello from ${me}`)
    await shell.lines.take(line => line.includes(`"hello from ${me}"`), 15_000, 'in the shell of the other one')
    await mine.says(`read up to #1 by ${other}`)
    await pub(t, server, 'dave', `im/to/u/${me}`, 'from a shell\u001b[2J\nand more')
    await mine.says('#1 dave: from a shell [2J and more')
    await pub(t, server, me, `im/to/u/${other}`, 'from my other device')
    await mine.says(`#2 ${me} to ${other}: from my other device`)
  })
  await each(async me => {
    await pub(t, server, to[me], 'im/rpc/blocks.add', JSON.stringify({ rid: '1', user: me }))
    programs[me].type('psst')
    t.match(await programs[me].says(/^not sent/), /^not sent \(blocked: .+\): psst$/)
    t.equal(await programs[me].eof(), 0, 'ends by itself')
  })
  for (const me of names) t.equal(programs[me].all.filter(line => line.startsWith('sent')).length, 1, `${me}'s program says so of what is stored, once`)
}

async function group (t: Test): Promise<void> {
  const server = await startServer(t, { config })
  await pub(t, server, 'alice', 'im/rpc/groups.create', JSON.stringify({ rid: '1', gid: 'dev', members: ['bob', 'carol'] }))
  const programs = { alice: start(t, server, 'python', '--user', 'alice', '--group', 'dev'), bob: start(t, server, 'go', '--user', 'bob', '--group', 'dev'), carol: start(t, server, 'node', '--user', 'carol', '--group', 'dev') }
  await each(async me => { await programs[me].says('* connected') })
  await each(async me => {
    for (let i = 1; i <= 20; i++) programs[me].type(`${me} ${i}`)
    for (const other of names) {
      for (let i = 1; i <= 20; i++) await programs[me].says(other === me ? /^sent #\d+$/ : new RegExp(`^#\\d+ dev/${other}: ${other} ${i}$`))
    }
    t.equal(await programs[me].eof(), 0)
  })
  const seqs = (me: keyof typeof users): number[] => programs[me].all.map(line => Number(/^(?:sent )?#(\d+)/.exec(line)?.[1])).filter(seq => !Number.isNaN(seq))
  for (const me of names) {
    const got = seqs(me)
    t.equal(got.length, new Set(got).size, 'each once')
    t.strictSame(got, got.toSorted((a, b) => a - b), 'in their order')
    t.strictSame(got.slice(-60), seqs('alice').slice(-60))
  }
}

async function serverGone (t: Test): Promise<void> {
  const server = await startServer(t, { config })
  const programs = { alice: start(t, server, 'python', '--user', 'alice', '--to', 'dave'), bob: start(t, server, 'go', '--user', 'bob', '--to', 'dave'), carol: start(t, server, 'node', '--user', 'carol', '--to', 'dave') }
  const texts = ['one', 'two', 'three', 'four', 'five']
  await each(async me => {
    programs[me].type('one')
    await programs[me].says('sent #1')
    // On its way when the server goes.
    programs[me].type('two')
  })
  await server.kill9()
  await each(async me => {
    await programs[me].says('* no connection, trying again')
    for (const text of ['three', 'four', 'five']) programs[me].type(text)
  })
  await server.restart()
  await each(async me => { for (let seq = 2; seq <= 5; seq++) await programs[me].says(`sent #${seq}`) })
  await each(async me => { t.equal(await programs[me].eof(), 0) })
  const dave = await device(t, server.url, 'dave')
  await dave.subscribe('im/u/dave/inbox')
  for (const me of names) {
    for (const [at, body] of texts.entries()) {
      const got = await next(dave, '/inbox', { from: me })
      t.match(got, { seq: at + 1, body }, `${me}'s, in the order in which they were typed`)
    }
  }
  for (const me of names) await pub(t, server, me, 'im/to/u/dave', 'last')
  for (const me of names) t.match(await next(dave, '/inbox', { from: me }), { seq: 6, body: 'last' }, 'and no more')
}

async function killed (t: Test): Promise<void> {
  const server = await startServer(t, { config })
  await each(async (me, language) => {
    const before = start(t, server, language, '--user', me, '--to', 'dave')
    await before.says('* connected')
    const dave = await device(t, server.url, 'dave', { clientId: me })
    await dave.subscribe('im/u/dave/event')
    await pub(t, server, 'dave', `im/to/u/${me}`, 'one')
    await before.says('#1 dave: one')
    // Then the program has acknowledged it.
    await next(dave, '/event', { by: me, kind: 'delivered' })
    await before.kill()
    for (const text of ['two', 'three']) await pub(t, server, 'dave', `im/to/u/${me}`, text)
    const after = start(t, server, language, '--user', me, '--to', 'dave')
    await after.says('#3 dave: three')
    await pub(t, server, 'dave', `im/to/u/${me}`, 'four')
    await after.says('#4 dave: four')
    t.equal(await after.eof(), 0)
    t.strictSame(after.all.filter(line => line.startsWith('#')), ['#2 dave: two', '#3 dave: three', '#4 dave: four'])
  })
}

async function refusedAtOnce (t: Test): Promise<void> {
  const server = await startServer(t, { config: { auth: { mode: 'password' } } })
  await each(async (me, language) => {
    t.equal(await start(t, server, language, '--user', me, '--password', 'guessed', '--to', 'dave').ended(), 1, `${language}: the server does not know this user`)
    t.equal(await start(t, server, language, '--user', me).ended(), 2, `${language}: says how it is used`)
  })
}
