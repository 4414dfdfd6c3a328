/** No password and no body in a log, whatever its level. */
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'

for (const level of ['debug', 'trace']) {
  await t.test(`level ${level}`, async t => {
    const server = await startServer(t, { config: { auth: { mode: 'password' }, log: { level, pretty: false } } })
    const secret = (name: string): string => `${name}-Zx81qW-${level}`
    for (const [user, password] of [['alice', secret('password')], ['bob', secret('other')]] as const) {
      t.equal((await cli(['user', 'add', user, '--data', server.data, '--config', server.configPath], { input: password + '\n' })).code, 0)
    }
    const bob = await device(t, server.url, 'bob', { password: secret('other') })
    await bob.subscribe('im/u/bob/#')
    for (const version of [4, 5] as const) {
      const alice = await device(t, version === 4 ? server.url : server.wsUrl, 'alice', { password: secret('password'), version, clientId: `pen${version}` })
      await alice.publish('im/to/u/bob', secret('body'))
      await bob.next('im/u/bob/inbox')
      await alice.publish('im/to/u/bob', { body: { deep: secret('structured') }, meta: { key: secret('meta') } })
      await bob.next('im/u/bob/inbox')
      await alice.publish('im/to/u/bob', { cid: 7, body: secret('refused') })
      await alice.publish('im/u/bob/inbox', secret('forbidden'))
      await alice.publish('im/rpc/groups.create', { rid: 'x', gid: 'a/b', name: secret('request') })
      await alice.publish('im/rpc/unread', `{"rid":"${secret('broken')}`)
      await alice.publish('im/to/u/bob', Buffer.from(secret('binary') + '\xff', 'latin1'))
      await bob.next('im/u/bob/inbox')
    }
    for (const password of [secret('wrong')]) {
      for (const user of ['alice', 'nobody']) {
        const { connack } = await RawClient.connect(t, server.mqttPort, { user, password, will: { topic: 'im/to/u/bob', payload: Buffer.from(secret('will')) } })
          .catch(() => ({ connack: { returnCode: 5 } }))
        t.not(connack.returnCode, 0)
      }
    }
    await server.stop()
    const logs = server.logs()
    t.ok(logs.length > 0, 'there are logs')
    t.notMatch(logs, 'Zx81qW', 'no password, no body')
    t.notMatch(logs, Buffer.from(secret('body')).toString('base64').slice(0, 16))
    t.notMatch(logs, 'argon2')
  })
}
