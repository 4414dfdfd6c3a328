/** Password mode: accounts of the command line, refusals that tell nothing, a ban that closes connections. */
import t from 'tap'
import { within } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'
import type { Exit, Server } from '../support/server.ts'

const config = { auth: { mode: 'password' } }
const user = async (server: Server, verb: string, name: string, password?: string): Promise<Exit> =>
  await cli(['user', verb, name, '--data', server.data, '--config', server.configPath],
    password === undefined ? {} : { input: password + '\n' })

await t.test('who is let in', async t => {
  const server = await startServer(t, { config })
  const added = await user(server, 'add', 'alice', 'correct horse')
  t.equal(added.code, 0, added.stderr)
  t.not((await user(server, 'add', 'alice', 'other')).code, 0, 'a name is taken once')
  const code = async (options: { user?: string, password?: string, version?: 4 | 5 }): Promise<number | undefined> => {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, options)
    const answer = connack.returnCode ?? connack.reasonCode
    if (answer !== 0) await within(client.closed, 10_000, 'the close after a refused CONNECT [MQTT-3.2.2-5]')
    return answer
  }
  t.equal(await code({ user: 'alice', password: 'correct horse' }), 0)
  const wrong = await code({ user: 'alice', password: 'wrong' })
  t.ok(wrong === 4 || wrong === 5, `refused with ${wrong}`)
  t.equal(await code({ user: 'nobody', password: 'wrong' }), wrong, 'an unknown user gets the same answer')
  t.equal(await code({ user: 'alice' }), wrong, 'no password')
  t.equal(await code({}), wrong, 'no name')
  t.equal(await code({ user: '__proto__', password: '' }), wrong)
  const wrong5 = await code({ user: 'alice', password: 'wrong', version: 5 })
  t.ok(wrong5 === 0x86 || wrong5 === 0x87, `version 5: refused with ${wrong5}`)
  t.equal(await code({ user: 'nobody', password: 'x', version: 5 }), wrong5)
  t.equal(await code({ user: 'alice', password: 'correct horse', version: 5 }), 0)

  await server.kill9()
  await server.restart()
  t.equal(await code({ user: 'alice', password: 'correct horse' }), 0, 'accounts survive kill -9')
})

await t.test('a ban and a new password close the connections', async t => {
  const server = await startServer(t, { config })
  await user(server, 'add', 'alice', 'one')
  await user(server, 'add', 'bob', 'bob')
  const open = async (password: string): Promise<RawClient> => {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password, clientId: 'phone', clean: false })
    t.equal(connack.returnCode, 0)
    return client
  }
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', password: 'bob' })
  const first = await open('one')
  await first.subscribe('im/u/alice/inbox')
  t.equal((await user(server, 'ban', 'alice')).code, 0)
  await within(first.closed, 10_000, 'the close at the ban')
  const { connack: banned } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'one' })
  t.not(banned.returnCode, 0, 'and nothing lets them in')
  const unban = await cli(['user', 'unban', 'alice', '--data', server.data, '--config', server.configPath])
  t.equal(unban.code, 0, unban.stderr)
  const second = await open('one')
  t.equal((await user(server, 'passwd', 'alice', 'two')).code, 0)
  await within(second.closed, 10_000, 'the close at the new password')
  await open('two')
  const list = await cli(['user', 'list', '--json', '--data', server.data, '--config', server.configPath])
  t.match(list.stdout, /alice/)
  t.notMatch(list.stdout, /argon2/, 'no hashes')
  t.equal((await user(server, 'rm', 'alice')).code, 0)
  const { connack: gone } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'two' })
  t.not(gone.returnCode, 0)
  await bob.ping()
  t.pass("another's connection is untouched")
})

await t.test('failures back off per account and address, and say no more than before', async t => {
  const server = await startServer(t, { config: { auth: { mode: 'password', failureLimit: 3 } } })
  await user(server, 'add', 'alice', 'one')
  await user(server, 'add', 'bob', 'bob')
  let last = 0
  for (let i = 0; i < 5; i++) {
    const { connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: `guess ${i}` })
    t.not(connack.returnCode, 0)
    last = connack.returnCode as number
  }
  const { connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'one' })
  t.not(connack.returnCode, 0, 'the right one is not tried while it backs off')
  t.ok(last > 0)
  const { connack: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', password: 'bob' })
  t.equal(bob.returnCode, 0, 'another account is not affected')
})
