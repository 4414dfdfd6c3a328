/** Which names a request may call this server by. */
import { isIP } from 'node:net'
import { isLoopback } from '../network.ts'

/** A Host header: a name, an IPv4 address or an IPv6 address in brackets, with or without a port (RFC 9110, section 7.2). */
const hostPattern = /^(\[[0-9a-f:.]+\]|[^\s:/?#@\\[\]]+)(?::\d{0,5})?$/i

/**
 * Tells by its Host header whether a request is meant for the server that listens on `listensOn`. What listens on loopback is
 * protected by nothing but that address, and a web page from elsewhere can have its own name lead there (DNS rebinding): such
 * a request bears the page's name. `hosts` are the names that are right besides; `*` lets any name in. Off loopback any name
 * is right unless `hosts` names some, and any IP address, as load balancers ask by it and no name leads there. A request without
 * a Host is no browser's.
 */
export function hostRule (listensOn: string, hosts: readonly string[]): (host: string | undefined) => boolean {
  if (hosts.includes('*') || (!isLoopback(listensOn) && hosts.length === 0)) return () => true
  const everyAddress = !isLoopback(listensOn)
  const names = new Set([listensOn, ...hosts].map(name => name.toLowerCase().replace(/^\[|\]$/g, '')))
  return host => {
    if (host === undefined) return true
    const name = hostPattern.exec(host)?.[1]?.toLowerCase().replace(/^\[|\]$|\.$/g, '')
    return name !== undefined && (isLoopback(name) || name.endsWith('.localhost') || names.has(name) || (everyAddress && isIP(name) !== 0))
  }
}
