/** The command line of the bench. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { find } from './peers/process.ts'
import type { BodyKind } from './body.ts'
import type { Settings } from './scenarios/scenario.ts'

export const usage = `Usage: node dist/bench/main.js [scenario…] [options]

  --rounds N        rounds; each runs every peer once, in turn (3)
  --seconds S       measured seconds of a round (5); --warm-up S before them (2)
  --short           one round of 2 seconds, smaller numbers
  --peers LIST      of sabethes,sabethes-5,sabethes-compact,sabethes-thread,mosquitto,aedes,nats,nats-lazy,mochi (sabethes,mosquitto,aedes; with --against only
                    sabethes). Go builds the last three at their first run
  --node-options O  the server with these options for Node as one more peer; may be given several times
  --against REF     an earlier commit of this repository as a peer, built aside once; ratios are of it
  --pairs N         pairs (50)                       --window N       unacknowledged messages of a publisher (20)
  --windows LIST    windows of overload (10,20,60,100,200,400)
  --payload BYTES   size of a payload (100)          --body KIND      text, json or cid (text)
  --rate N          messages/s of paced (2000)       --members N      members of fanout's group (500)
  --mongodb-rate N  messages/s of mongodb's latencies (100)
  --cluster-rates LIST  messages/s of cluster, one after the other (10,50,200)
  --cluster-group-rate N  messages/s of cluster-group (5)
  --groups N        groups of many-groups (1000)     --connections N  connections of idle (19500, or what ulimit -n lets)
  --large-members N members of group-10000 (10000)   --online N       how many of them are online (2000)
  --clients N       clients of reconnect (2000)      --conversations N  of the user of conversation-list (1000)
  --storm N         clients of storm (10000)
  --stored N        messages in the store of stored (5000000)
  --depth N         unread messages of behind and of offline-queue (100000)
  --retained N      retained messages of retained (1000000)
  --waiting N       waiting messages of backlog (10000)
  --readers N       sessions of behind, users of backlog (20)
  --attacks LIST    attacks of hostile (all)         --attack-seconds S  each (5)
  --recovery S      seconds after each attack of hostile (30)
  --broker-cpu LIST core of the broker, or cores (0)          --generator-cpu N  core of the generator (1)
  --database-cpus LIST  cores of mongodb's database (the others; with two cores the generator's)
  --json FILE       writes everything measured       --markdown       prints tables for bench/README.md
  --plot FILE       draws the scenario latency as SVG
  --profile         after each scenario, where the threads of the servers that are Node programs spent their time (slower)
  --check FILE      fails when a ratio is far below FILE (bench/thresholds.json;
                    bench/thresholds-against.json with --against)
  --list            names the scenarios`

export interface Options {
  scenarios: string[]
  peers: string[]
  /** Options for Node, one more peer for each. */
  nodeOptions: string[]
  /** A commit to compare with. */
  against: string | undefined
  settings: Settings
  json: string | undefined
  markdown: boolean
  plot: string | undefined
  profile: boolean
  check: string | undefined
  list: boolean
  help: boolean
}

/** Files that a broker has open beside its connections, with a margin. */
const reservedFiles = 500

/** The most files that this process and those it starts may have open: Node raises the soft limit to the hard one by itself. */
function openFilesLimit (): number {
  const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit)
}

const bodies: readonly string[] = ['text', 'json', 'cid']

/** Reads the arguments; throws an Error with a text for the user when they are wrong. */
export function readOptions (args: readonly string[]): Options {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: text,
      seconds: text,
      'warm-up': text,
      short: flag,
      peers: text,
      'node-options': { type: 'string', multiple: true, default: [] },
      against: text,
      pairs: text,
      window: text,
      windows: text,
      payload: text,
      body: text,
      rate: text,
      'mongodb-rate': text,
      'cluster-rates': text,
      'cluster-group-rate': text,
      members: text,
      groups: text,
      connections: text,
      'large-members': text,
      online: text,
      clients: text,
      conversations: text,
      storm: text,
      stored: text,
      depth: text,
      retained: text,
      waiting: text,
      readers: text,
      attacks: text,
      'attack-seconds': text,
      recovery: text,
      'broker-cpu': text,
      'generator-cpu': text,
      'database-cpus': text,
      json: text,
      markdown: flag,
      check: text,
      plot: text,
      profile: flag,
      list: flag,
      help: flag
    }
  })
  const { short } = values
  const number = (name: keyof typeof values, whole: number, brief = whole, least = 1) => {
    const given = values[name]
    if (given === undefined) return short ? brief : whole
    const value = Number(given)
    if (!(value >= least)) throw new Error(`--${name}: '${String(given)}' is not a number of at least ${least}`)
    return value
  }
  const bound = find('taskset') !== undefined && availableParallelism() > 1
  const body = values.body ?? 'text'
  if (!bodies.includes(body)) throw new Error(`--body: '${body}' is not one of ${bodies.join(', ')}`)
  const groups = number('groups', 1000, 200, 20)
  if (groups % 20 !== 0) throw new Error('--groups: must be a multiple of 20')
  const openFiles = openFilesLimit()
  const connections = number('connections', Math.min(19_500, openFiles - reservedFiles), 500)
  if (connections > openFiles - reservedFiles) throw new Error(`--connections: this shell lets a process have ${openFiles} files open (ulimit -Hn); at most ${openFiles - reservedFiles}`)
  const [largeMembers, online] = [number('large-members', 10_000, 2000), number('online', 2000, 500)]
  if (online > largeMembers) throw new Error('--online: more than --large-members')
  const cores = (name: 'broker-cpu' | 'database-cpus', ordinary: string): string => {
    const list = values[name] ?? ordinary
    if (!/^\d+([-,]\d+)*$/.test(list)) throw new Error(`--${name}: '${list}' is no list of cores`)
    return list
  }
  const brokerCpus = bound ? cores('broker-cpu', '0') : undefined
  const brokerCpu = brokerCpus !== undefined && /^\d+$/.test(brokerCpus) ? Number(brokerCpus) : undefined
  const generatorCpu = bound ? number('generator-cpu', 1, 1, 0) : undefined
  const windows = (values.windows ?? (short ? '20,200' : '10,20,60,100,200,400')).split(',').map(Number)
  if (!windows.every(window => Number.isSafeInteger(window) && window >= 1 && window <= 60_000)) throw new Error(`--windows: '${String(values.windows)}' is no list of numbers from 1 to 60000`)
  const clusterRates = (values['cluster-rates'] ?? (short ? '50' : '10,50,200')).split(',').map(Number)
  if (!clusterRates.every(rate => rate >= 1)) throw new Error(`--cluster-rates: '${String(values['cluster-rates'])}' is no list of rates of at least 1`)
  const others = Array.from({ length: availableParallelism() }, (_, core) => core).filter(core => core !== brokerCpu && core !== generatorCpu)
  const databaseCpus = cores('database-cpus', String(others.length > 0 ? others : generatorCpu))
  return {
    scenarios: positionals,
    peers: (values.peers ?? (values.against === undefined ? 'sabethes,mosquitto,aedes' : 'sabethes')).split(','),
    nodeOptions: values['node-options'],
    against: values.against,
    settings: {
      brokerCpus,
      brokerCpu,
      generatorCpu,
      databaseCpus: bound ? databaseCpus : undefined,
      rounds: number('rounds', 3, 1),
      seconds: number('seconds', 5, 2, 0.1),
      warmUpSeconds: number('warm-up', 2, 1, 0),
      pairs: number('pairs', 50),
      window: number('window', 20),
      windows,
      payloadBytes: number('payload', 100),
      websocket: false,
      tls: false,
      body: body as BodyKind,
      rate: number('rate', 2000),
      mongodbRate: number('mongodb-rate', 100),
      clusterRates,
      clusterGroupRate: number('cluster-group-rate', 5),
      sleeps: false,
      members: number('members', 500),
      groups,
      connections,
      largeMembers,
      online,
      clients: number('clients', 2000, 500),
      conversations: number('conversations', 1000, 200),
      storm: number('storm', 10_000, 5000),
      stored: number('stored', 5_000_000, 200_000),
      depth: number('depth', 100_000, 10_000),
      retained: number('retained', 1_000_000, 100_000),
      waiting: number('waiting', 10_000, 5000),
      readers: number('readers', 20, 5),
      attacks: values.attacks?.split(','),
      attackSeconds: number('attack-seconds', 5, 2, 0.1),
      recoverySeconds: number('recovery', 30, 5, 0.1)
    },
    json: values.json,
    markdown: values.markdown,
    check: values.check,
    plot: values.plot,
    profile: values.profile,
    list: values.list,
    help: values.help
  }
}
