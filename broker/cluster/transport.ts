/** How frames come from one server to another one. Frames may be lost, and nothing is said of it; those of one sender come in order. */
import type { Logger } from 'pino'
import type { RedisClient } from './redis.ts'

/** Milliseconds between two looks whether the connection that is listened on is there. */
const lookMs = 1_000

export interface Transport {
  /** Resolves when it is on its way. Rejects when it is known to be lost. */
  publish (node: string, frame: string): Promise<void>
  /** Takes what comes for `self` from now on; to be called once. */
  listen (self: string, onFrame: (frame: string) => void): void
  /** Resolves when it is listened to, or after `timeoutMs` when it is not yet. */
  ready (timeoutMs: number): Promise<void>
  close (): void
}

/** Redis' pub/sub: a channel for each server process. */
export class RedisTransport implements Transport {
  readonly #commands: RedisClient
  readonly #subscriber: RedisClient
  readonly #namespace: string
  readonly #log: Logger
  #looking: NodeJS.Timeout | undefined
  #listening: () => void = () => {}
  readonly #listens = new Promise<void>(resolve => { this.#listening = resolve })

  constructor ({ commands, subscriber, namespace, log }: { commands: RedisClient, subscriber: RedisClient, namespace: string, log: Logger }) {
    this.#commands = commands
    this.#subscriber = subscriber
    this.#namespace = namespace
    this.#log = log
  }

  async publish (node: string, frame: string): Promise<void> {
    const listeners = await this.#commands.publish(this.#channel(node), frame)
    // A process that was killed has no connection. A Redis Cluster counts those of one of its servers alone.
    if (listeners === 0 && !this.#commands.isCluster) throw new Error('nobody listens')
  }

  listen (self: string, onFrame: (frame: string) => void): void {
    const subscriber = this.#subscriber
    subscriber.on('message', (_channel: string, frame: string) => { onFrame(frame) })
    const subscribe = (): void => {
      subscriber.subscribe(this.#channel(self)).then(() => { this.#listening() }, (error: unknown) => { this.#log.debug({ err: error }, 'the channel is subscribed to with the next connection') })
    }
    // Nothing is sent on this connection otherwise: that it was cut would show to nobody.
    this.#looking = setInterval(() => {
      if (subscriber.status === 'ready') subscriber.ping().catch((error: unknown) => { this.#log.debug({ err: error }, 'the channel is subscribed to with the next connection') })
    }, lookMs)
    this.#looking.unref()
    subscriber.on('ready', subscribe)
    if (subscriber.status === 'ready') subscribe()
  }

  async ready (timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await Promise.race([this.#listens, new Promise(resolve => { timer = setTimeout(resolve, timeoutMs) })])
    clearTimeout(timer)
  }

  close (): void {
    clearInterval(this.#looking)
    this.#subscriber.disconnect()
  }

  #channel (node: string): string { return `${this.#namespace}:to:${node}` }
}
