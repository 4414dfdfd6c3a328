/** Which MongoDB-speaking server there is for tests and measurements, and the command that starts it. docs/mongodb-test-servers.md tells of them. */
import { buildFerretdb } from './ferretdb-build.ts'
import { found } from './tools.ts'

export type MongodbKind = 'mongod' | 'ferretdb' | 'secantusdb'
/** A server that runs already, or a kind that can be started here. */
export type MongodbSource = { kind: 'env', url: string } | { kind: MongodbKind }

/** The program to look for on the PATH. */
const programs: Readonly<Record<MongodbKind, string>> = { mongod: 'mongod', ferretdb: 'go', secantusdb: 'secantusd-py' }

/**
 * Looks in this order: the address in `SABETHES_TEST_MONGODB_URL`; `mongod` on the PATH; `go`, which builds FerretDB.
 * `SABETHES_TEST_MONGODB_SERVER` names one kind and no other. `undefined` when this machine has none.
 */
export function findMongodb (): MongodbSource | undefined {
  const url = process.env.SABETHES_TEST_MONGODB_URL
  if (url !== undefined && url !== '') return { kind: 'env', url }
  const wanted = process.env.SABETHES_TEST_MONGODB_SERVER as MongodbKind | undefined
  const kind = (wanted === undefined ? ['mongod', 'ferretdb'] as const : [wanted]).find(each => found(programs[each]))
  return kind === undefined ? undefined : { kind }
}

/** `full`: fsync before every answer (for measurements); `normal`: survives the death of the process. FerretDB only; the others always do the first. */
export type MongodbSync = 'full' | 'normal'

/** Program and arguments of a server whose data is in `folder`. Builds FerretDB when it is not there yet. */
export async function mongodbCommand (kind: MongodbKind, { folder, port, sync }: { folder: string, port: number, sync: MongodbSync }): Promise<[string, ...string[]]> {
  switch (kind) {
    case 'mongod': return [programs.mongod, '--dbpath', folder, '--bind_ip', '127.0.0.1', '--port', String(port), '--nounixsocket', '--quiet']
    case 'ferretdb': return [await buildFerretdb(), '-state', folder, '-listen', `127.0.0.1:${port}`, '-sync', sync]
    case 'secantusdb': return [programs.secantusdb, '--host', '127.0.0.1', '--port', String(port), '--storage-path', folder, '--sync-on-commit', '--log-level', 'WARNING']
  }
}
