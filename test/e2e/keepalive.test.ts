/** What clients are advised of their keep alive: on `im/server`, and what the operator says of it while they are connected. */
import t from 'tap'
import { json, RawClient } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'

await t.test('the operator changes it: who reads im/server hears of it, and the server that comes after', async t => {
  const server = await startServer(t, { config: { mqtt: { keepAlive: { wifiSeconds: 90 } } } })
  const command = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { code, stdout, stderr } = await cli(['keepalive', ...args, '--json', '--data', server.data, '--config', server.configPath])
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const { client: old } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'old' })
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'new', version: 5 })
  await old.subscribe(['im/server', 'im/u/alice/notice'])
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/server', qos: 1 }], properties: { subscriptionIdentifier: 7 } })
  for (const reader of [old, client]) {
    const first = await reader.next('im/server')
    t.equal(first.retain, true)
    t.strictSame(json(first)['keepAlive'], { wifi: 90, cellular: 230, nat: 55 })
  }
  t.strictSame(await command(), { wifi: 90, cellular: 230, nat: 55 })
  t.strictSame(await command('--cellular', '600'), { wifi: 90, cellular: 600, nat: 55 })
  for (const reader of [old, client]) {
    const changed = await reader.next('im/server')
    t.equal(changed.retain, false, '[MQTT-3.3.1-9]')
    t.match(json(changed), { name: 'sabethes', keepAlive: { cellular: 600 } })
    t.same(changed.properties?.subscriptionIdentifier, reader === client ? 7 : undefined)
  }
  await old.publish('im/rpc/server.keepalive', '{"rid":"1","wifi":10}')
  t.match(json(await old.next('im/u/alice/rpc/1')), { ok: false, code: 'forbidden' })
  await old.subscribe('im/server')
  t.match(json(await old.next('im/server')), { keepAlive: { wifi: 90, cellular: 600 } }, 'who comes later reads what it is now')
  t.match((await cli(['keepalive', '--nat', '9', '--data', server.data, '--config', server.configPath])), { code: 1, stderr: /nat: must be a whole number from 10 / })
  await server.stop()
  t.strictSame(await command('--nat', '40'), { wifi: 90, cellular: 600, nat: 40 }, 'also while no server runs')
  await server.restart()
  const { client: again } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  await again.subscribe('im/server')
  t.strictSame(json(await again.next('im/server'))['keepAlive'], { wifi: 90, cellular: 600, nat: 40 })
})
