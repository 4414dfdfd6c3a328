/** Hands connections on from Unix sockets to ports of 127.0.0.1: sockets of files are the same in each network namespace. Arguments: a path and a port, and so on. */
import { handOn } from './hand-on.ts'

const args = process.argv.slice(2)
for (let at = 0; at < args.length; at += 2) await handOn({ path: args[at] as string }, { host: '127.0.0.1', port: Number(args[at + 1]) })
process.stdout.write('ready\n')
