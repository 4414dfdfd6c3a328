import { readFileSync } from 'node:fs'
import t from 'tap'
import { check } from '../../bench/check.ts'
import { markdown, summarise, table } from '../../bench/report.ts'
import type { Report } from '../../bench/report.ts'
import { readOptions } from '../../bench/options.ts'
import type { Round, Scenario } from '../../bench/scenarios/scenario.ts'

const { settings } = readOptions(['--short'])
const scenario: Scenario = {
  name: 'pairs',
  describe: () => 'two by two',
  headline: 'rate',
  better: 'higher',
  run: async () => ({ metrics: {} })
}
const rounds = (...rates: number[]): Round[] => rates.map(rate => ({ metrics: { rate } }))

function report (peers: Record<string, Round[]>, skipped: Record<string, string> = {}): Report {
  return {
    machine: { cpu: 'c', cores: 2, kernel: 'k', node: 'n', disk: { folder: '/tmp', inMemory: false, syncMs: 1 } },
    startedAt: '2026-01-02T03:04:05Z',
    settings,
    scenarios: [summarise(scenario, settings, new Map(Object.entries(peers)), skipped)]
  }
}

await t.test('medians, spread and ratios', async t => {
  const result = report({ sabethes: rounds(30, 10, 20), mosquitto: rounds(40, 60) }).scenarios[0]
  t.same(result?.peers[0]?.figures['rate'], { median: 20, min: 10, max: 30 })
  t.equal(result?.peers[0]?.ratios['rate'], 0.4)
})

await t.test('a void round counts for nothing and is said', async t => {
  const void_ = report({ mosquitto: [...rounds(10), { metrics: { rate: 1000 }, fault: '3 missing' }] })
  const result = void_.scenarios[0]
  t.equal(result?.peers[0]?.figures['rate']?.median, 10)
  t.match(table(result as NonNullable<typeof result>), 'VOID: mosquitto: 3 missing')
  t.match(markdown(void_), '- VOID: mosquitto: 3 missing')
})

await t.test('thresholds are compared with ratios', async t => {
  const threshold = { scenario: 'pairs', metric: 'rate', peer: 'sabethes', against: 'mosquitto' }
  const both = report({ sabethes: rounds(50), mosquitto: rounds(100) })
  const outcome = (given: Report, bound: object) => check(given, [{ ...threshold, ...bound }]).map(one => one.ok)
  t.same(outcome(both, { atLeast: 0.5 }), [true])
  t.same(outcome(both, { atLeast: 0.51 }), [false])
  t.same(outcome(both, { atMost: 0.49 }), [false])
  t.same(outcome(both, { scenario: 'other', atMost: 0.49 }), [], 'a scenario that did not run')
  const alone = { scenario: 'pairs', metric: 'rate', peer: 'sabethes' }
  t.strictSame(check(report({ sabethes: rounds(0.8) }), [{ ...alone, atLeast: 0.9 }, { ...alone, atLeast: 0.7 }]), [
    { ok: false, text: 'pairs rate sabethes: 0.80 (at least 0.9)' }, { ok: true, text: 'pairs rate sabethes: 0.80 (at least 0.7)' }
  ], 'a figure that is a ratio by itself')
  const wrong = report({ sabethes: [{ metrics: {}, fault: 'x' }], mosquitto: rounds(1) })
  t.same(outcome(wrong, { atLeast: 0.1 }), [false], 'a void result')
  const absent = report({ sabethes: rounds(1) }, { mosquitto: 'not installed' })
  t.same(outcome(absent, { atLeast: 0.5 }), [true], 'nothing to compare with')
})

await t.test('`earlier` is the commit of --against, whichever it is', async t => {
  const threshold = { scenario: 'pairs', metric: 'rate', peer: 'sabethes', against: 'earlier', atLeast: 0.85 }
  const both = report({ sabethes: rounds(80), '0123abcd': rounds(100) })
  t.same(check(both, [threshold], '0123abcd'), [{ ok: false, text: 'pairs rate sabethes/0123abcd: 0.80 (at least 0.85)' }])
  t.same(check(both, [{ ...threshold, atLeast: 0.8 }], '0123abcd').map(one => one.ok), [true])
  t.same(check(both, [threshold]), [{ ok: true, text: 'pairs rate sabethes/earlier: not compared, earlier did not run' }])
})

await t.test('the thresholds of the repository name what exists', async t => {
  for (const file of ['thresholds.json', 'thresholds-against.json']) {
    const thresholds = JSON.parse(readFileSync(new URL(`../../../bench/${file}`, import.meta.url), 'utf8')) as object[]
    t.ok(thresholds.length > 0)
    for (const threshold of thresholds) t.match(threshold, 'against' in threshold ? { scenario: String, metric: String, peer: String, against: String } : { scenario: String, metric: /_of_|_per_stream_kb$/, peer: String })
  }
})

await t.test('options', async t => {
  t.equal(readOptions([]).settings.rounds, 3)
  t.same(readOptions(['pairs', '--pairs', '7', '--short']).settings.pairs, 7)
  t.throws(() => readOptions(['--pairs', 'many']), /--pairs: 'many'/)
  t.throws(() => readOptions(['--body', 'xml']), /--body/)
  t.throws(() => readOptions(['--nonsense']), /nonsense/)
  t.throws(() => readOptions(['--database-cpus', 'all']), /--database-cpus: 'all'/)
  const { settings: bound } = readOptions(['--database-cpus', '2-3,5'])
  t.equal(bound.databaseCpus, bound.brokerCpus === undefined ? undefined : '2-3,5')
})

await t.test('a scenario may name another reference', async t => {
  const sibling: Scenario = { ...scenario, reference: 'sabethes' }
  const result = summarise(sibling, settings, new Map([['sabethes', rounds(20)], ['sabethes-stored', rounds(15)], ['mosquitto', rounds(1)]]), {})
  t.equal(result.peers[1]?.ratios['rate'], 0.75)
  t.match(table(result), 'of sabethes')
})

await t.test('options that cannot be', async t => {
  t.throws(() => readOptions(['--connections', '100000000']), /ulimit/)
  t.throws(() => readOptions(['--online', '20', '--large-members', '10']), /--online/)
  t.throws(() => readOptions(['--groups', '21']), /multiple/)
})
