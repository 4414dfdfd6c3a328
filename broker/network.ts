/** Peers, as limits count them. */
import { isIPv4, isIPv6 } from 'node:net'

/** What counts as one address: an IPv4 address, or the /64 of an IPv6 one, as one customer has all of it. */
export function network (address: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (v4 !== null) return v4[1] as string
  if (!isIPv6(address)) return address
  const [left = '', right] = (address.split('%')[0] as string).toLowerCase().split('::')
  const groups = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : 8 - groups.length - tail.length
  const all = [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...tail]
  return all.slice(0, 4).map(group => group.replace(/^0+(?=.)/, '')).join(':') + '::/64'
}

/** True for addresses that only this machine reaches. */
export function isLoopback (host: string): boolean {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '').replace(/^::ffff:/, '')
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'))
}
