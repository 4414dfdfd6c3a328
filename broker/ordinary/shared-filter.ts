const prefix = '$share/'

/** A group of shared subscriptions: those of one share name to one filter. */
export interface Share { /** the whole filter, and the name of the group's queue */ key: string, filter: string }

export function isShared (filter: string): boolean { return filter.startsWith(prefix) }

/** What is shared. The codec has seen that there is a name and a filter ([MQTT-4.8.2-1], [MQTT-4.8.2-2]). */
export function shareOf (key: string): Share { return { key, filter: key.slice(key.indexOf('/', prefix.length) + 1) } }
