/**
 * Where clients are whose connections come through a proxy: by its PROXY header (haproxy.org/download/2.9/doc/proxy-protocol.txt, versions 1 and 2), or by
 * X-Forwarded-For. Of listed proxies alone: anybody else could claim to be anywhere.
 */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, type Server, type Socket } from 'node:net'
import { ownAddress } from './peers.ts'

/** Longest header that is read: version 2 may have up to 65,551 bytes, of which addresses are the first 52. */
const maxHeaderBytes = 4_096
/** Longest header of version 1, its line end included. */
const maxLineBytes = 107
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
/** In front of the addresses of version 2. */
const prefixBytes = 16

/** Listed proxies: addresses, or networks such as 10.0.0.0/8. */
export class Proxies {
  readonly #list = new BlockList()

  constructor (networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', bits] = network.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      if (bits === undefined) this.#list.addAddress(address, family)
      else this.#list.addSubnet(address, Number(bits), family)
    }
  }

  has (address: string | undefined): boolean {
    const plain = plainAddress(address ?? '')
    const family = isIP(plain)
    return family !== 0 && this.#list.check(plain, family === 6 ? 'ipv6' : 'ipv4')
  }

  /** Of a request that a proxy passes on: the last address of X-Forwarded-For that is no listed proxy; undefined when it names none. */
  forwardedFor ({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
    const given = headers['x-forwarded-for']
    const hops = (Array.isArray(given) ? given.join(',') : given ?? '').split(',').map(hop => plainAddress(hop.trim()))
    for (const hop of hops.reverse()) {
      if (isIP(hop) === 0) return undefined
      if (!this.has(hop)) return hop
    }
    return undefined
  }
}

function plainAddress (address: string): string {
  return address.replace(/^\[(.*)\]$/, '$1').replace(/^::ffff:(?=\d+\.)/i, '')
}

/** A request of a listed proxy comes from where it says, from now on. */
export function trustForwarded (proxies: Proxies, request: IncomingMessage): void {
  const { socket } = request
  if (!proxies.has(ownAddress(socket))) return
  const address = proxies.forwardedFor(request)
  // Connections of a proxy carry the requests of many.
  setAddress(socket, address ?? ownAddress(socket) ?? '')
}

/** From now on the socket says that its peer is there. */
export function setAddress (socket: Socket, address: string): void {
  Object.defineProperty(socket, 'remoteAddress', { value: address, configurable: true })
}

/** What a header says: how long it is, and where the client is (undefined: the proxy speaks for itself, or does not know). */
export interface ProxyHeader { bytes: number, address: string | undefined }

/** Reads the header at the beginning of `chunk`; 'more' while it is not whole, 'wrong' when there is none. */
export function readProxyHeader (chunk: Buffer): ProxyHeader | 'more' | 'wrong' {
  const known = Math.min(chunk.length, signature.length)
  if (chunk.compare(signature, 0, known, 0, known) === 0) return chunk.length < prefixBytes ? 'more' : readBinary(chunk)
  const line = chunk.toString('latin1', 0, maxLineBytes)
  const end = line.indexOf('\r\n')
  if (end < 0) return 'PROXY '.startsWith(line.slice(0, 6)) && chunk.length < maxLineBytes ? 'more' : 'wrong'
  const [, family, source = '', target = '', ...ports] = /^PROXY (?:UNKNOWN.*|(TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5}))$/.exec(line.slice(0, end)) ?? ['', 'wrong']
  if (family === 'wrong') return 'wrong'
  if (family === undefined) return { bytes: end + 2, address: undefined }
  const version = family === 'TCP4' ? 4 : 6
  if (isIP(source) !== version || isIP(target) !== version || ports.some(port => Number(port) > 65_535)) return 'wrong'
  return { bytes: end + 2, address: source }
}

function readBinary (chunk: Buffer): ProxyHeader | 'more' | 'wrong' {
  const command = chunk[12] as number
  const family = chunk[13] as number
  const length = chunk.readUInt16BE(14)
  const bytes = prefixBytes + length
  // Version 2; LOCAL or PROXY.
  if (command !== 0x20 && command !== 0x21) return 'wrong'
  if (bytes > maxHeaderBytes) return 'wrong'
  if (chunk.length < bytes) return 'more'
  if (command === 0x20) return { bytes, address: undefined }
  if (family === 0x11) return length < 12 ? 'wrong' : { bytes, address: [...chunk.subarray(16, 20)].join('.') }
  if (family === 0x21) return length < 36 ? 'wrong' : { bytes, address: plainAddress(Array.from({ length: 8 }, (_, i) => chunk.readUInt16BE(16 + 2 * i).toString(16)).join(':')) }
  return { bytes, address: undefined }
}

export interface ProxyHeaders {
  proxies: Proxies
  /** Milliseconds until the header has to be there. */
  timeoutMs: number
  /** A connection that is not taken: no listed proxy has made it, or it has no header. */
  refused (address: string, reason: string): void
}

/** Every connection to `server` begins with a PROXY header from now on; to be called when all listeners of its `connection` are there. Others are ended. */
export function expectProxyHeaders (server: Server, { proxies, timeoutMs, refused }: ProxyHeaders): void {
  const listeners = server.listeners('connection')
  server.removeAllListeners('connection')
  const accept = (socket: Socket): void => { for (const listener of listeners) Reflect.apply(listener, server, [socket]) }
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const refuse = (reason: string): void => {
      socket.destroy()
      refused(address, reason)
    }
    socket.on('error', () => { socket.destroy() })
    if (!proxies.has(address)) return refuse('it is not among the listed proxies')
    let kept: Buffer = Buffer.alloc(0)
    const timer = setTimeout(() => { refuse('its PROXY header does not come') }, timeoutMs)
    const done = (): void => {
      clearTimeout(timer)
      socket.removeListener('readable', read)
      socket.removeListener('close', done)
    }
    const read = (): void => {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) return
      kept = kept.length === 0 ? chunk : Buffer.concat([kept, chunk])
      const header = readProxyHeader(kept)
      if (header === 'more') return
      done()
      if (header === 'wrong') return refuse('it does not begin with a PROXY header')
      if (header.address !== undefined) setAddress(socket, header.address)
      if (kept.length > header.bytes) socket.unshift(kept.subarray(header.bytes))
      accept(socket)
    }
    socket.on('readable', read)
    socket.on('close', done)
  })
}
