/**
 * schemathesis over /openapi.json: no answer is a failure of the server or outside its schema, what the schema refuses the server refuses, and nobody is
 * let in without the right credentials. 25 seconds; `SABETHES_TEST_SECONDS=600 TAP_TIMEOUT=700 node dist/test/http/schemathesis.test.js` has the long form.
 */
import t from 'tap'
import { ApiClient } from '../support/api-client.ts'
import { schemathesis } from '../support/schemathesis.ts'
import { cli, run, startServer } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const seconds = Number(process.env['SABETHES_TEST_SECONDS'] ?? 25)
const many = 1_000_000

await t.test('every answer is what /openapi.json says', { timeout: (seconds + 120) * 1000 }, async t => {
  if (!requireTool(t, 'python3')) return
  const folder = t.testdir()
  const server = await startServer(t, {
    data: `${folder}/data`,
    config: {
      auth: { mode: 'password', failureLimit: many, accountFailureLimit: many, addressFailureLimit: many },
      http: { requestsPerSecond: many, signInSeconds: 600, stream: { pollMs: 20 } },
      requests: { perSecond: many, burst: many, heavyPerSecond: many, heavyBurst: many },
      log: { level: 'warn' }
    }
  })
  for (const user of ['alice', 'bob']) t.equal((await cli(['user', 'add', user, '--data', server.data, '--config', server.configPath], { input: `of ${user}\n` })).code, 0)
  const alice = new ApiClient(server.httpPort, 'alice', 'of alice')
  t.equal((await alice.send('u/bob', 'hello')).status, 201)
  const [program = '', ...args] = await schemathesis()
  const { code, stdout, stderr } = await run(program, [
    ...args, 'run', `http://127.0.0.1:${server.httpPort}/openapi.json`, '--auth', 'alice:of alice', '--max-time', String(seconds),
    // It has no end.
    '--exclude-path', '/v1/stream',
    '--continue-on-failure', '--no-color', '--generation-database', 'none', '--warnings', 'off'
  ], { cwd: folder, timeoutMs: (seconds + 100) * 1000 })
  t.equal(code, 0, `${stdout.slice(-8000)}${stderr}`)
  t.match(stdout, /Tested: \d\d/)
  const [, cases = '0'] = /(\d+) generated/.exec(stdout) ?? []
  t.ok(Number(cases) > 100, `${cases} requests`)
  t.notMatch(server.logs(), /"level":[56]0/)
})
