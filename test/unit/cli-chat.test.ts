import t from 'tap'
import { desk } from '../support/cli-terminal.ts'
import { scriptedBroker, type Script } from '../support/scripted-broker.ts'

async function broker (t: { teardown (job: () => Promise<void>): void }, script: Script) {
  const running = await scriptedBroker(script)
  t.teardown(() => running.close())
  return running
}
const text = (payload: string | Buffer): Record<string, unknown> => JSON.parse(payload.toString()) as Record<string, unknown>

await t.test('send: the payload, the receipt, the login', async t => {
  const sent: Array<{ topic: string, payload: Record<string, unknown>, qos: number }> = []
  const { url, peers } = await broker(t, {
    publish: (peer, { topic, payload, qos, messageId }) => {
      sent.push({ topic, payload: text(payload), qos })
      peer.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0, properties: { userProperties: { id: 'm1', seq: '7' } } })
    }
  })
  const folder = t.testdir({ pw: 'hush\n' })
  const env = { SABETHES_PASSWORD: 'other' }
  t.match(await desk(folder, { env }).run('send', 'bob', '{"body":1}', '-u', 'alice', '--url', url, '--password-file', 'pw'), { code: 0, out: 'stored as number 7, id m1\n' })
  t.match(sent[0], { topic: 'im/to/u/bob', payload: { type: 'text', body: '{"body":1}', cid: /^[0-9a-f-]{36}$/ }, qos: 1 })
  t.equal(peers[0]?.connect?.username, 'alice')
  t.equal(peers[0]?.connect?.password?.toString(), 'hush')
  t.equal(peers[0]?.connect?.protocolVersion, 5)

  const { out } = await desk(folder, { env, input: 'two\nlines\n' }).run('send', 'g/dev', '-', '-u', 'alice', '--url', url, '--json', '--cid', 'c1', '--set', 'mqtt.prefix=chat')
  t.strictSame(JSON.parse(out), { ok: true, to: 'g/dev', cid: 'c1', id: 'm1', seq: 7 })
  t.strictSame(sent[1], { topic: 'chat/to/g/dev', payload: { cid: 'c1', type: 'text', body: 'two\nlines\n' }, qos: 1 })
  t.equal(peers[1]?.connect?.password?.toString(), 'other')
})

await t.test('send --type: what a body is', async t => {
  const sent: Array<Record<string, unknown>> = []
  const { url } = await broker(t, {
    publish: (peer, { payload, messageId }) => {
      const { type, body } = text(payload)
      sent.push({ type, body })
      peer.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
    }
  })
  const send = (body: string, type: string) => desk(t.testdir()).run('send', 'bob', body, '-u', 'alice', '--url', url, '--type', type)
  for (const [body, type] of [['{"a":[1]}', 'json'], ['42', 'json'], ['"x"', 'json'], ['{"lat":1}', 'place'], ['42', 'note'], ['aGk=', 'binary'], ['{"a":1}', 'text']] as const) {
    t.match(await send(body, type), { code: 0 }, `${type} ${body}`)
  }
  t.strictSame(sent, [
    { type: 'json', body: { a: [1] } }, { type: 'json', body: 42 }, { type: 'json', body: 'x' }, { type: 'place', body: { lat: 1 } },
    { type: 'note', body: '42' }, { type: 'binary', body: 'aGk=' }, { type: 'text', body: '{"a":1}' }
  ])
  t.match(await send('{"a":', 'json'), { code: 2, out: '', err: /JSON/ })
  t.equal(sent.length, 7, 'what is no JSON is not sent as such')
})

await t.test('send: refusals', async t => {
  const { url } = await broker(t, {
    publish: (peer, { topic, payload, messageId }) => {
      const { cid, body } = text(payload)
      const notice = (code: string, ref: object) => { peer.publish('im/u/alice/notice', { kind: 'reject', code, reason: `no: ${code}`, ref }) }
      if (body === 'foreign') notice('muted', { topic, cid: 'another' })
      if (body === 'notice') notice('blocked', { topic, cid })
      const reasonCode = body === 'code' ? 0x97 : 0
      if (body === 'cut') peer.cut()
      else if (body === 'bye') peer.send({ cmd: 'disconnect', reasonCode: 0x8b, properties: { reasonString: 'going down' } })
      else if (body !== 'silence') peer.send({ cmd: 'puback', messageId: messageId as number, reasonCode, ...(reasonCode === 0 ? {} : { properties: { reasonString: 'rate_limited: slowly' } }) })
      if (body === 'bye') peer.cut()
    }
  })
  const send = (body: string, ...more: string[]) => desk(t.testdir()).run('send', 'bob', body, '-u', 'alice', '--url', url, ...more)
  t.match(await send('notice'), { code: 1, out: '', err: 'sabethes: refused (blocked): no: blocked\n' })
  t.strictSame(JSON.parse((await send('notice', '--json')).out), { ok: false, code: 'blocked', reason: 'no: blocked' })
  t.match(await send('code'), { code: 1, err: 'sabethes: rate_limited: slowly\n' })
  t.match(await send('foreign'), { code: 0 }, 'a refusal of something else')
  t.match(await send('cut'), { code: 1, err: /closed the connection/ })
  t.match(await send('silence', '--timeout', '0.5'), { code: 1, err: /did not acknowledge within 500 ms/ })
})

await t.test('who is not let in', async t => {
  const refusing = await broker(t, { connack: ({ username }) => username === 'eve' ? 0x8a : 0x86 })
  t.match(await desk(t.testdir()).run('send', 'bob', 'x', '-u', 'alice', '--url', refusing.url), { code: 1, err: /refused \(unauthorized\): wrong user name or password/ })
  t.match(await desk(t.testdir()).run('send', 'bob', 'x', '-u', 'eve', '--url', refusing.url), { code: 1, err: /refused \(banned\)/ })
  t.match(await desk(t.testdir()).run('send', 'bob', 'x', '-u', 'alice', '--url', 'mqtt://127.0.0.1:1'), { code: 1, err: /no server answers at mqtt:\/\/127\.0\.0\.1:1/ })
  for (const args of [
    ['send', 'bob', 'x'],
    ['send', 'a/b/c', 'x', '-u', 'alice'],
    ['send', 'bob', '', '-u', 'alice'],
    ['send', 'bob', 'x', '-u', 'a/b'],
    ['send', 'bob', 'x', '-u', 'alice', '--timeout', '0'],
    ['send', 'bob', 'x', '-u', 'alice', '--url', 'http://x'],
    ['send', 'bob', 'x', '-u', 'alice', '--url', 'mqtt://alice:secret@127.0.0.1'],
    ['send', 'bob', 'x', '-u', 'alice', '--mqtt-port', '1'],
    ['send', 'bob', 'x', '-u', 'alice', '--set', 'mqtt.tcp.port=0'],
    ['history', 'bob', '-u', 'alice', '--limit', 'x'],
    ['listen', '-u', 'alice', '--count', '0']
  ]) t.match(await desk(t.testdir()).run(...args), { code: 2, out: '' }, args.join(' '))
})

await t.test('requests: history and groups', async t => {
  const asked: Array<[string, Record<string, unknown>]> = []
  const { url } = await broker(t, {
    publish: (peer, { topic, payload, messageId }) => {
      const { rid, ...params } = text(payload)
      asked.push([topic, params])
      const results = new Map<string, unknown>([
        ['im/rpc/messages.history', { messages: [{ v: 1, conv: 'd:alice:bob', seq: 3, from: 'bob', to: 'u/alice', ts: 0, type: 'text', body: 'hi\u001b[2J' }] }],
        ['im/rpc/groups.list', { groups: [{ gid: 'dev', name: 'Dev', role: 'owner' }] }]
      ])
      const refused = params['gid'] === 'gone'
      peer.publish('im/u/alice/rpc/other', { rid: 'other', ok: true, result: 'foreign' })
      peer.publish(`im/u/alice/rpc/${String(rid)}`, refused ? { rid, ok: false, code: 'not_found', reason: 'no such group' } : { rid, ok: true, result: results.get(topic) })
      peer.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
    }
  })
  const run = (...args: string[]) => desk(t.testdir()).run(...args, '-u', 'alice', '--url', url)
  t.match(await run('history', 'bob', '--before', '9', '--limit', '2'), { code: 0, out: '1970-01-01 00:00:00  u/alice #3  bob: hi\\u001b[2J\n' })
  t.match(JSON.parse((await run('history', 'g/dev', '--json')).out), { messages: [{ seq: 3 }] })
  await run('history', 'd:a:b')
  t.match(await run('group', 'create', 'dev', 'bob', 'carol', '--name', 'Dev'), { code: 0, out: 'created g/dev\n' })
  t.match(await run('group', 'add', 'dev', 'bob'), { code: 0 })
  t.match(await run('group', 'rm', 'gone', 'bob'), { code: 1, err: 'sabethes: refused (not_found): no such group\n' })
  t.match(await run('group', 'list'), { code: 0, out: 'dev  owner  Dev\n' })
  t.strictSame(asked, [
    ['im/rpc/messages.history', { with: 'bob', before: 9, limit: 2 }],
    ['im/rpc/messages.history', { group: 'dev' }],
    ['im/rpc/messages.history', { conv: 'd:a:b' }],
    ['im/rpc/groups.create', { gid: 'dev', name: 'Dev', members: ['bob', 'carol'] }],
    ['im/rpc/groups.add', { gid: 'dev', users: ['bob'] }],
    ['im/rpc/groups.remove', { gid: 'gone', users: ['bob'] }],
    ['im/rpc/groups.list', {}]
  ])
})

await t.test('listen: what arrives, the filters, the end', async t => {
  const envelope = { v: 1, conv: 'd:alice:bob', seq: 1, from: 'bob', to: 'u/alice', ts: 0, type: 'text', body: 'hello' }
  const { url, peers } = await broker(t, {
    subscribed: peer => {
      peer.publish('im/u/alice/inbox', envelope)
      peer.publish('im/u/alice/event', { kind: 'read' })
      peer.publish('im/g/dev', 'third')
    }
  })
  const { code, out } = await desk(t.testdir()).run('listen', '-u', 'alice', '--url', url, '-n', '2', '--events')
  t.equal(code, 0)
  t.equal(out, '1970-01-01 00:00:00  u/alice #1  bob: hello\nim/u/alice/event  {"kind":"read"}\n')
  t.strictSame(peers[0]?.filters, ['im/u/alice/inbox', 'im/u/alice/notice', 'im/g/+', 'im/u/alice/event'])
  t.equal(peers[0]?.connect?.clean, true)

  const d = desk(t.testdir())
  const done = d.run('listen', '-u', 'alice', '--url', url, '--json', '--client-id', 'phone')
  await d.printed('third')
  d.terminal.signals.emit('SIGINT', 'SIGINT')
  t.match(await done, { code: 0 })
  t.strictSame(JSON.parse(d.out().split('\n')[0] as string), { topic: 'im/u/alice/inbox', message: envelope })
  t.match(peers[1]?.connect, { clean: false, clientId: 'phone', properties: { sessionExpiryInterval: 2592000 } })
})

await t.test('listen: acknowledges what it showed and nothing else', async t => {
  const { url, peers } = await broker(t, {
    subscribed: peer => {
      for (const messageId of [1, 2, 3]) peer.send({ cmd: 'publish', topic: 'im/u/alice/inbox', payload: `{"n":${messageId}}`, qos: 1, messageId, dup: false, retain: false })
    }
  })
  const { code, out, err } = await desk(t.testdir()).run('listen', '-u', 'alice', '--url', url, '-n', '2')
  t.equal(code, 0)
  t.equal(out, 'im/u/alice/inbox  {"n":1}\nim/u/alice/inbox  {"n":2}\n')
  t.equal(err, 'listening as alice; Ctrl-C ends it\n')
  await peers[0]?.closed
  t.strictSame(peers[0]?.acknowledged, [1, 2])
})

await t.test('listen: comes back after a cut, ends when it is refused', async t => {
  let connections = 0
  const { url, peers } = await broker(t, {
    connack: () => ++connections === 3 ? 0x8a : 0,
    subscribed: peer => { peer.publish('im/u/alice/inbox', { n: peers.length }) }
  })
  const d = desk(t.testdir())
  const done = d.run('listen', '-u', 'alice', '--url', url)
  await d.printed('{"n":1}')
  peers[0]?.cut()
  await d.printed('{"n":2}')
  peers[1]?.cut()
  t.match(await done, { code: 1 })
  t.match(d.err(), /cut; trying again\nconnected again\n/)
  t.match(d.err(), /refused \(banned\)/)
})

await t.test('listen: a refused subscription', async t => {
  const { url } = await broker(t, { subscribe: (_peer, filters) => filters.map(() => 0x87) })
  t.match(await desk(t.testdir()).run('listen', '-u', 'alice', '--url', url), { code: 1, err: /Not authorized/ })
})
