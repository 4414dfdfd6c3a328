import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { RawClient } from '../support/raw-client.ts'
import { publish2 } from '../support/ordinary-flows.ts'

const program = fileURLToPath(new URL('../support/ordinary-process.js', import.meta.url))

await t.test('what was acknowledged survives a kill', async t => {
  const folder = `${t.testdir()}/records`
  const start = async () => {
    const child = spawn(process.execPath, [program, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => { child.kill('SIGKILL') })
    const [port] = await once(createInterface(child.stdout), 'line') as [string]
    const kill = async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    return { port: Number(port), kill }
  }

  let server = await start()
  const receiver = (await RawClient.connect(t, server.port, { clientId: 'receiver', clean: false })).client
  await receiver.subscribe('k/#', 2)
  await receiver.disconnect()
  const acknowledged: string[] = []
  for (let round = 0; round < 3; round++) {
    const senders = await Promise.all(Array.from({ length: 4 }, async (_, i) => (await RawClient.connect(t, server.port, { clientId: `s${i}` })).client))
    await Promise.all(senders.map(async (sender, i) => {
      for (let n = 0; n < 20; n++) {
        const text = `${round}-${i}-${n}`
        if (n % 4 === 0) await publish2(sender, `k/${i}`, text)
        else await sender.publish(`k/${i}`, text, { retain: n === 19 })
        acknowledged.push(text)
      }
    }))
    await server.kill()
    server = await start()
  }
  const back = await RawClient.connect(t, server.port, { clientId: 'receiver', clean: false })
  t.ok(back.connack.sessionPresent)
  const got: string[] = []
  while (got.length < acknowledged.length) got.push((await back.client.next()).payload.toString())
  t.strictSame([...got].sort(), [...acknowledged].sort())
  for (let i = 0; i < 4; i++) {
    const order = (texts: string[]) => texts.filter(text => text.split('-')[1] === String(i))
    t.strictSame(order(got), order(acknowledged), 'in order')
  }
  await back.client.subscribe('k/+', 1)
  for (let i = 0; i < 4; i++) t.match(await back.client.packets.take(packet => packet.cmd === 'publish' && packet.retain && packet.topic === `k/${i}`), { payload: Buffer.from(`2-${i}-19`) })
})
