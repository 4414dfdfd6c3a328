/** `npm run bench`: runs the scenarios, every broker in turn on one core and the generator on another. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { check } from './check.ts'
import type { Threshold } from './check.ts'
import { readOptions, usage } from './options.ts'
import type { Options } from './options.ts'
import { aedes } from './peers/aedes.ts'
import { earlier } from './peers/against.ts'
import type { Earlier } from './peers/against.ts'
import { mochi } from './peers/mochi.ts'
import { mosquitto } from './peers/mosquitto.ts'
import { nats, natsLazy } from './peers/nats.ts'
import { sabethes, sabethes5, sabethesCompact, sabethesStored, sabethesThread, sabethesWith } from './peers/sabethes.ts'
import { sabethesHostile } from './peers/sabethes-hostile.ts'
import { sabethesMongodb } from './peers/sabethes-mongodb.ts'
import { find, killAll } from './peers/process.ts'
import type { Peer } from './peers/peer.ts'
import { plot } from './plot.ts'
import { Profiler } from './profile.ts'
import { machine, markdown, summarise, table, usualReference } from './report.ts'
import type { Report } from './report.ts'
import { backlog } from './scenarios/backlog.ts'
import { behind } from './scenarios/behind.ts'
import { cluster } from './scenarios/cluster.ts'
import { clusterGroup } from './scenarios/cluster-group.ts'
import { conversationList } from './scenarios/conversation-list.ts'
import { fanout } from './scenarios/fanout.ts'
import { group10000 } from './scenarios/group-10000.ts'
import { hostile } from './scenarios/hostile.ts'
import { http } from './scenarios/http.ts'
import { idle } from './scenarios/idle.ts'
import { manyGroups } from './scenarios/many-groups.ts'
import { paced } from './scenarios/paced.ts'
import { latency } from './scenarios/latency.ts'
import { mongodb } from './scenarios/mongodb.ts'
import { offlineQueue } from './scenarios/offline-queue.ts'
import { overload } from './scenarios/overload.ts'
import { pairs } from './scenarios/pairs.ts'
import { reconnect } from './scenarios/reconnect.ts'
import { retainedScenario } from './scenarios/retained.ts'
import { startup } from './scenarios/startup.ts'
import { stored } from './scenarios/stored.ts'
import { storm } from './scenarios/storm.ts'
import { tls } from './scenarios/tls.ts'
import { websocket } from './scenarios/websocket.ts'
import type { Round, Scenario, Settings } from './scenarios/scenario.ts'

const scenarios: readonly Scenario[] = [
  pairs, overload, paced, latency, fanout, group10000, manyGroups, websocket, tls, http, backlog, reconnect, storm, conversationList, stored, mongodb, cluster, clusterGroup, idle, behind, retainedScenario, offlineQueue, hostile, startup
]
const peers: readonly Peer[] = [sabethes, sabethes5, sabethesCompact, sabethesThread, mosquitto, aedes, nats, natsLazy, mochi]
/** Peers of single scenarios that an earlier commit may have too: each with its file and its name there. */
const siblings: ReadonlyArray<[Peer, string, string]> = [
  [sabethesStored, 'sabethes.js', 'sabethesStored'],
  [sabethesMongodb, 'sabethes-mongodb.js', 'sabethesMongodb'],
  [sabethesHostile, 'sabethes-hostile.js', 'sabethesHostile']
]

/** The entry of `all` named `name`; throws with the names there are. */
function named<T extends { name: string }> (all: readonly T[], name: string, what: string): T {
  const found = all.find(one => one.name === name)
  if (found === undefined) throw new Error(`no such ${what}: '${name}' (there are ${all.map(one => one.name).join(', ')})`)
  return found
}

function say (text: string): void { process.stderr.write(text + '\n') }

/** Why the peer cannot run here, which is said; gets it ready when it can. */
async function unusable (peer: Peer): Promise<string | undefined> {
  const why = peer.missing() ?? await peer.prepare?.()
  if (why !== undefined) say(`*** SKIPPING ${peer.name.toUpperCase()}: ${why} ***`)
  return why
}

async function measure (scenario: Scenario, peer: Peer, settings: Settings): Promise<Round> {
  try {
    const running = await peer.start({ cpu: settings.brokerCpus, databaseCpus: settings.databaseCpus, stored: settings.stored })
    try {
      const result = await scenario.run(peer, running, settings)
      return running.process.ended ? { metrics: {}, fault: `the broker ended: ${running.process.output.trim()}` } : result
    } catch (error) {
      const output = running.process.output.trim()
      return { metrics: {}, fault: `${(error as Error).message}${output === '' ? '' : ` (the broker said: ${output.slice(-500)})`}` }
    } finally {
      await running.stop()
    }
  } catch (error) {
    return { metrics: {}, fault: (error as Error).message }
  }
}

/** The scenario's own peers, and those of them that the earlier commit has, in its name. */
async function extras ({ extra = [] }: Scenario, against: Earlier | undefined): Promise<Peer[]> {
  const all = [...extra]
  for (const [peer, file, key] of against === undefined ? [] : siblings) {
    if (!extra.includes(peer)) continue
    const old = await against?.peer(file, key)
    if (old !== undefined) all.push(old)
  }
  return all
}

async function compare (scenario: Scenario, chosen: readonly Peer[], skipped: Readonly<Record<string, string>>, settings: Settings, against: Earlier | undefined, profiler: Profiler | undefined) {
  const left: Record<string, string> = { ...skipped, ...scenario.without }
  // What this commit's own server cannot show, the earlier one's cannot either.
  if (against !== undefined && left[sabethes.name] !== undefined) left[against.name] = left[sabethes.name] as string
  const extra = await extras(scenario, against)
  for (const peer of extra) {
    const why = await unusable(peer)
    if (why !== undefined) left[peer.name] = why
  }
  const taking = [...chosen, ...extra].filter(peer => !(peer.name in left))
  const rounds = new Map<string, Round[]>(taking.map(peer => [peer.name, []]))
  for (let number = 1; number <= settings.rounds; number++) {
    for (const peer of taking) {
      const result = await measure(scenario, peer, settings)
      profiler?.take(peer.name)
      rounds.get(peer.name)?.push(result)
      const figure = result.metrics[scenario.headline]
      say(`${scenario.name} ${number}/${settings.rounds} ${peer.name}: ${result.fault !== undefined ? `VOID, ${result.fault}` : `${figure?.toFixed(2)} ${scenario.headline}`}`)
    }
  }
  const known = new Set([...chosen, ...extra].map(peer => peer.name))
  const usual = scenario.reference ?? usualReference
  // Where that does not run ratios are of the first peer: of MQTT 5 to 3.1.1, when those two are chosen.
  const instead = taking.length < 2 || taking.some(({ name }) => name === usual) ? undefined : taking[0]?.name
  const reference = against === undefined ? instead : taking.find(({ name }) => name.startsWith(against.name))?.name
  const compared = reference === undefined ? scenario : { ...scenario, reference }
  return summarise(compared, settings, rounds, Object.fromEntries(Object.entries(left).filter(([name]) => known.has(name))))
}

/** Binds this process, all its threads, to a core. */
function bindSelf (cpu: number | undefined): void {
  const taskset = find('taskset')
  if (cpu === undefined || taskset === undefined) {
    say('NOT BOUND TO CORES (one core only, or no taskset): broker and generator disturb each other.')
    return
  }
  execFileSync(taskset, ['-a', '-c', '-p', String(cpu), String(process.pid)], { stdio: 'ignore' })
}

async function run (options: Options): Promise<number> {
  const { settings } = options
  const chosen = options.scenarios.length > 0 ? options.scenarios.map(name => named(scenarios, name, 'scenario')) : scenarios
  const thresholds = options.check === undefined ? [] : JSON.parse(readFileSync(options.check, 'utf8')) as Threshold[]
  const competitors = [...options.peers.map(name => named(peers, name, 'peer')), ...options.nodeOptions.map(sabethesWith)]
  const against = options.against === undefined ? undefined : await earlier(options.against)
  const before = await against?.peer('sabethes.js', 'sabethes')
  if (against !== undefined) {
    if (before === undefined) throw new Error(`--against: ${against.name} has no bench/peers/sabethes.ts`)
    // One after the other: the machine changes least between two neighbours.
    competitors.splice(competitors.indexOf(sabethes) + 1, 0, before)
    process.once('exit', () => { against.killAll() })
  }
  const skipped: Record<string, string> = {}
  for (const peer of competitors) {
    const why = await unusable(peer)
    if (why !== undefined) skipped[peer.name] = why
  }
  bindSelf(settings.generatorCpu)
  const profiler = options.profile ? new Profiler() : undefined
  process.once('exit', () => { profiler?.close() })
  const report: Report = { machine: machine(), startedAt: new Date().toISOString(), settings, scenarios: [] }
  const { disk } = report.machine
  say(`a synced write in ${disk.folder} takes ${disk.syncMs.toFixed(2)} ms`)
  if (disk.inMemory) say(`*** ${disk.folder} IS IN MEMORY: nothing measured here is durable. Set TMPDIR to a folder on a disk. ***`)
  for (const scenario of chosen) {
    const result = await compare(scenario, competitors, skipped, settings, against, profiler)
    report.scenarios.push(result)
    if (!options.markdown) console.log(table(result) + '\n')
    if (profiler !== undefined) console.log(profiler.report())
    if (options.json !== undefined) writeFileSync(options.json, JSON.stringify(report, null, 2) + '\n')
  }
  if (options.markdown) console.log(markdown(report))
  const drawn = report.scenarios.find(result => result.scenario === latency.name)
  if (options.plot !== undefined && drawn !== undefined) writeFileSync(options.plot, plot(drawn))
  const outcomes = check(report, thresholds, against?.name)
  for (const { ok, text } of outcomes) console.log(`${ok ? 'ok    ' : 'MISSED'} ${text}`)
  const isVoid = report.scenarios.some(result => result.peers.some(peer => peer.faults.length > 0))
  return isVoid || outcomes.some(({ ok }) => !ok) ? 1 : 0
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killAll()
    process.exit(130)
  })
}
process.once('exit', killAll)

try {
  const options = readOptions(process.argv.slice(2))
  if (options.help) console.log(usage)
  else if (options.list) for (const scenario of scenarios) console.log(`${scenario.name.padEnd(18)} ${scenario.describe(options.settings)}`)
  else process.exitCode = await run(options)
} catch (error) {
  say((error as Error).message)
  process.exitCode = 2
}
