import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, lstatSync, mkdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import t from 'tap'
import { codes, Refusal } from '../../broker/errors.ts'
import { connectControl } from '../../broker/http/control-client.ts'
import { socketPlace } from '../../broker/http/control-socket.ts'
import type { ControlTarget } from '../../broker/http/control-target.ts'
import { startControl } from '../../broker/http/control.ts'
import { fakeTarget } from '../support/fake-target.ts'

async function raw (socketPath: string, method: string, path: string, body?: string): Promise<{ status: number, type: string, json: Record<string, unknown> }> {
  const outgoing = request({ socketPath, method, path, agent: false })
  outgoing.end(body)
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', json: JSON.parse(text) as Record<string, unknown> }
}

async function started (t: { teardown (job: () => Promise<void>): void }, path: string, target: ControlTarget): Promise<string> {
  const control = await startControl(path, target)
  t.teardown(() => control.close())
  return control.path
}

await t.test('every method arrives and answers through the socket', async t => {
  const folder = t.testdir()
  const target = fakeTarget()
  t.equal(await connectControl(folder), undefined, 'nobody there yet')
  const control = await startControl(folder, target)
  const client = await connectControl(folder) as ControlTarget
  await client.users.add('bob', 'secret')
  await client.users.add('alice', undefined)
  t.equal(target.accounts.get('bob')?.password, 'secret')
  t.equal(target.accounts.get('alice')?.hasPassword, false)
  t.strictSame((await client.users.list({ limit: 1 })).map(user => user.uid), ['alice'])
  t.strictSame((await client.users.list({ limit: 9, after: 'alice' })).map(user => user.uid), ['bob'])
  await client.users.passwd('bob', 'new')
  t.equal(target.accounts.get('bob')?.password, 'new')
  await client.users.ban('bob', true)
  t.equal(target.accounts.get('bob')?.banned, true)
  await client.users.ban('bob', false)
  t.equal(target.accounts.get('bob')?.banned, false)
  await client.users.remove('bob')
  t.notOk(target.accounts.has('bob'))
  t.strictSame(await client.status(), await target.status())
  t.strictSame(await client.purge(), { messages: 0, retentionSeconds: 0 })
  t.strictSame(await client.purge(60), { messages: 4, retentionSeconds: 60 })
  t.strictSame(await client.plugins(), await target.plugins())
  t.strictSame(await client.operate('server.keepalive', { wifi: 60 }), { wifi: 60, cellular: 230, nat: 55 })
  t.strictSame(target.operated, [['server.keepalive', { wifi: 60 }]])
  await t.rejects(client.operate('a/b c', {}), { code: 'not_found', message: /'a\/b c'/ })
  t.strictSame(await client.feed.register('audit', { from: 'now', temporary: false }), { name: 'audit', position: 0, createdAt: 7 })
  target.feed.add('d:alice:bob', 'é')
  t.strictSame(await client.feed.read('audit', { after: 0, waitMs: 10 }), await target.feed.read('audit', { after: 0, waitMs: 0 }))
  await client.feed.acknowledge('audit', 1)
  t.strictSame(await client.feed.readers(), await target.feed.readers())
  t.equal((await client.feed.readers())[0]?.position, 1)
  await client.feed.remove('audit')
  await t.rejects(client.feed.remove('audit'), { code: 'not_found' })
  await t.rejects(client.feed.read('audit', { after: -1, waitMs: 0 }), { code: 'bad_payload' })
  await t.rejects(client.feed.register('a/b', { from: 'now', temporary: false }), { code: 'bad_payload' })
  const seen: number[] = []
  await client.backup('/x/copy', done => { seen.push(done) })
  t.strictSame(target.backups, ['/x/copy'])
  t.equal(seen[0], 1)
  await control.close()
  t.equal(await connectControl(folder), undefined)
  t.notOk(existsSync(control.path), 'the socket is gone')
})

await t.test('refusals come out as they were thrown', async t => {
  const folder = t.testdir()
  const target = fakeTarget()
  await started(t, folder, target)
  const client = await connectControl(folder) as ControlTarget
  await client.users.add('__proto__', undefined)
  await t.rejects(client.users.add('__proto__', undefined), { name: 'Refusal', code: 'conflict', message: '__proto__ exists already' })
  await t.rejects(client.users.ban('nobody', true), { code: 'not_found' })
  await t.rejects(client.backup('/x/full', () => {}), { code: 'conflict', message: '/x/full is not empty' })
  await t.rejects(client.backup('/x/late', () => {}), { code: 'internal', message: 'the disk broke' }, 'after progress, too')
  target.purge = async () => { throw new Refusal('rate_limited', 'slowly', 1500) }
  await t.rejects(client.purge(), { code: 'rate_limited', retryAfterMs: 1500 })
  target.purge = async () => { throw new TypeError('x is not a function') }
  await t.rejects(client.purge(), { code: 'internal' })
  t.equal((await client.plugins()).length, 1, 'and the channel lives on')
})

await t.test('ids that are dots are ids, not ways', async t => {
  const folder = t.testdir()
  const target = fakeTarget()
  await started(t, folder, target)
  const client = await connectControl(folder) as ControlTarget
  for (const uid of ['.', '..', '...', '-', 'ban']) {
    await client.users.add(uid, undefined)
    await client.users.passwd(uid, 'secret')
    await client.users.ban(uid, true)
  }
  t.strictSame([...target.accounts.values()].map(({ uid, banned, password }) => [uid, banned, password]), ['.', '..', '...', '-', 'ban'].map(uid => [uid, true, 'secret']))
  await client.users.remove('.')
  await client.users.ban('..', false)
  await t.rejects(client.users.ban('.', true), { code: 'not_found' })
  t.strictSame([...target.accounts.keys()], ['..', '...', '-', 'ban'])
  t.equal(target.accounts.get('..')?.banned, false)
})

await t.test('bad requests', async t => {
  const folder = t.testdir()
  const target = fakeTarget()
  const path = await started(t, folder, target)
  const cases: Array<[string, string, string | undefined, keyof typeof codes]> = [
    ['GET', '/', undefined, 'not_found'],
    ['POST', '/v1/status', undefined, 'not_found'],
    ['PUT', '/v1/users/a%2Fb', '{}', 'bad_payload'],
    ['PUT', '/v1/users/' + 'a'.repeat(65), '{}', 'bad_payload'],
    ['PUT', '/v1/users/bob', '{', 'bad_payload'],
    ['PUT', '/v1/users/bob', '[]', 'bad_payload'],
    ['PUT', '/v1/users/bob', '{"password":7}', 'bad_payload'],
    ['PUT', '/v1/users/bob', '{"password":""}', 'bad_payload'],
    ['PUT', '/v1/users/bob', '{"pasword":"x"}', 'bad_payload'],
    ['PUT', '/v1/users/bob', JSON.stringify({ password: 'é'.repeat(513) }), 'bad_payload'],
    ['PUT', '/v1/users/bob', JSON.stringify({ password: 'x'.repeat(70_000) }), 'too_large'],
    ['PUT', '/v1/users/bob/password', '{}', 'bad_payload'],
    ['GET', '/v1/users?limit=0', undefined, 'bad_payload'],
    ['GET', '/v1/users?limit=1001', undefined, 'bad_payload'],
    ['GET', '/v1/users?limit=x', undefined, 'bad_payload'],
    ['POST', '/v1/backup', '{"path":"relative"}', 'bad_payload'],
    ['POST', '/v1/backup', '{"path":"/x/\\u0000y"}', 'bad_payload'],
    ['PUT', '/v1/users/', '{}', 'bad_payload'],
    ['PUT', '/v1/users/%', '{}', 'bad_payload'],
    ['PUT', '/v1/users/%ff', '{}', 'bad_payload'],
    ['PUT', '/v1/users/bob/../eve', '{}', 'not_found'],
    ['PUT', '/v1//users/bob', '{}', 'not_found'],
    ['PUT', '/v1/user%73/bob', '{}', 'not_found'],
    ['PUT', '/v1/users/bob%00', '{}', 'bad_payload'],
    ['PUT', '/v1/users/bob#x', '{}', 'not_found'],
    ['PUT', '/v1/users/.%2fban', '{}', 'bad_payload'],
    ['PUT', '/v1/users/' + 'a'.repeat(2000), '{}', 'bad_payload'],
    ['PUT', '/v1/users/bob/', '{}', 'not_found'],
    ['GET', '/v1/x/../status', undefined, 'not_found'],
    ['GET', 'http://a/v1/status', undefined, 'not_found'],
    ['POST', '/v1/backup', '{}', 'bad_payload'],
    ['POST', '/v1/purge', '{"retentionSeconds":-1}', 'bad_payload'],
    ['POST', '/v1/purge', '{"retention":1}', 'bad_payload']
  ]
  for (const [method, url, body, code] of cases) {
    const { status, type, json } = await raw(path, method, url, body)
    t.strictSame({ status, type, code: json['code'], in: json['status'] }, { status: codes[code].status, type: 'application/problem+json', code, in: status }, `${method} ${url.slice(0, 40)} ${body?.slice(0, 20) ?? ''}`)
  }
  t.equal(target.accounts.size, 0)
  t.equal((await raw(path, 'PUT', '/v1/users/bob', JSON.stringify({ password: 'é'.repeat(512) }))).status, 200)
})

await t.test('only its user can open the socket', async t => {
  const before = process.umask(0)
  t.teardown(() => { process.umask(before) })
  const path = await started(t, t.testdir(), fakeTarget())
  t.equal(lstatSync(path).mode & 0o777, 0o600)
  t.equal(process.umask(), 0, 'the umask is back')
})

await t.test('a socket left by kill -9 is replaced, a living one is refused', async t => {
  const folder = t.testdir()
  const { path } = socketPlace(folder)
  const child = spawnSync(process.execPath, ['-e', `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`])
  t.equal(child.signal, 'SIGKILL')
  t.ok(lstatSync(path).isSocket(), 'the child left its socket')
  t.equal(await connectControl(folder), undefined)
  await started(t, folder, fakeTarget())
  t.ok(await connectControl(folder))
  await t.rejects(startControl(folder, fakeTarget()), /another server is running on/)
  const client = await connectControl(folder) as ControlTarget
  t.equal((await client.plugins()).length, 1, 'the first one is unharmed')
})

await t.test('a file in the place of the socket is no server', async t => {
  const folder = t.testdir({ 'control.sock': 'x' })
  t.equal(await connectControl(folder), undefined)
  await started(t, folder, fakeTarget())
  t.ok(await connectControl(folder))
})

await t.test('a data folder whose path is too long for a socket', async t => {
  const folder = join(t.testdir(), 'x'.repeat(120))
  mkdirSync(folder)
  const { path, link } = socketPlace(folder)
  t.ok(Buffer.byteLength(path) <= 100)
  t.equal(link, join(folder, 'control.sock'))
  const control = await startControl(folder, fakeTarget())
  t.equal(control.path, path)
  t.equal(lstatSync(dirname(path)).mode & 0o777, 0o700)
  t.equal(lstatSync(path).mode & 0o777, 0o600)
  t.equal(readlinkSync(link as string), path)
  t.ok(await connectControl(folder))
  const alias = join(t.testdirName, 'alias')
  symlinkSync(folder, alias)
  t.ok(await connectControl(alias), 'by another way to the same folder')
  await t.rejects(startControl(folder, fakeTarget()), /another server is running/)

  const before = process.env['TMPDIR']
  t.teardown(() => { if (before === undefined) delete process.env['TMPDIR']; else process.env['TMPDIR'] = before })
  const elsewhere = join(t.testdirName, 't')
  mkdirSync(elsewhere)
  process.env['TMPDIR'] = elsewhere
  t.ok(await connectControl(folder), 'with another TMPDIR')
  await t.rejects(startControl(folder, fakeTarget()), /another server is running/)

  await control.close()
  t.notOk(existsSync(path))
  t.throws(() => lstatSync(link as string), { code: 'ENOENT' })
})

await t.test('a folder that others can open holds no socket', async t => {
  const root = t.testdir()
  const folder = join(root, 'y'.repeat(120))
  mkdirSync(folder)
  const before = process.env['TMPDIR']
  t.teardown(() => { if (before === undefined) delete process.env['TMPDIR']; else process.env['TMPDIR'] = before })
  // Not below the test's folder, whose path may be long itself.
  const temporary = `/tmp/sbt-${process.pid}`
  mkdirSync(temporary)
  t.teardown(() => { rmSync(temporary, { recursive: true }) })
  process.env['TMPDIR'] = temporary
  const { path } = socketPlace(folder)
  t.equal(dirname(dirname(path)), temporary)
  mkdirSync(dirname(path))
  chmodSync(dirname(path), 0o755)
  await t.rejects(startControl(folder, fakeTarget()), /is not a folder that only this user can open/)
  await t.rejects(connectControl(folder), /is not a folder that only this user can open/)
  rmSync(dirname(path), { recursive: true })
  writeFileSync(dirname(path), '')
  await t.rejects(connectControl(folder), /is not a folder that only this user can open/)
})

await t.test('a server that stops within a backup', async t => {
  const folder = t.testdir()
  const { path } = socketPlace(folder)
  const server = createServer(socket => {
    socket.once('data', () => { socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n{"done":1}\n') })
    socket.on('error', error => { t.comment(error.message) })
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => new Promise<void>(resolve => { server.close(() => { resolve() }) }))
  const client = await connectControl(folder) as ControlTarget
  await t.rejects(client.backup('/x', () => {}), { code: 'unavailable', message: /stopped before the backup was complete/ })
})
