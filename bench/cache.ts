/** Where the bench keeps what it builds. */
import { homedir } from 'node:os'
import { join } from 'node:path'

/** In the user's cache folder: it outlives clones and their packages. */
export const cacheFolder = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sabethes-bench')
