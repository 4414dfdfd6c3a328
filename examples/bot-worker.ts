/**
 * A worker of a bot: as many of them as you like, on as many machines, answer one user's messages together, each message once (topics.md,
 * "Several workers"). Nothing is needed but this file and the `mqtt` package: copy it, and write `answer`.
 *
 *   const worker = work({ url: 'mqtt://127.0.0.1:1883', bot: 'echo', worker: 'echo-1', answer: async ({ body }) => `you said: ${body}` })
 *   process.once('SIGTERM', () => worker.end())
 */
import { connect, type IClientOptions, type MqttClient } from 'mqtt'

/** What somebody wrote to the bot (topics.md, "The envelope"). */
export interface Question { id: string, conv: string, seq: number, from: string, type: string, body: unknown }

export interface WorkerOptions {
  url: string
  /** The user that all workers are. */
  bot: string
  /** The client id: another one for each worker. */
  worker: string
  /** What to answer; nothing when undefined. While it has not resolved the message is this worker's; when the worker goes, another one is asked. */
  answer: (question: Question) => Promise<string | undefined>
  /** Messages that this worker is given at once. They are answered one after the other: what is given to it early waits for it, and not for the next one that is free. */
  most?: number
  /** Of the connection: password, certificates. */
  options?: IClientOptions
}

/** Starts a worker; `end` of what it returns stops it. A message that `answer` rejects for ends the connection, and comes again. */
export function work ({ url, bot, worker, answer, most = 1, options = {} }: WorkerOptions): MqttClient {
  const client = connect(url, { ...options, protocolVersion: 5, username: bot, clientId: worker, clean: true, properties: { ...options.properties, receiveMaximum: most } })
  client.handleMessage = (packet, done) => {
    if (!packet.topic.endsWith('/inbox')) return done()
    const question = JSON.parse(packet.payload.toString()) as Question
    answer(question).then(body => {
      // With this cid it is stored once, also when a worker goes between answer and acknowledgement, and another one answers again.
      const cid = `re-${question.id}`
      if (body !== undefined) client.publish(`im/to/u/${question.from}`, JSON.stringify({ cid, type: 'text', body, replyTo: question.seq }), { qos: 1 })
      // The acknowledgement, behind the answer: the server reads them in this order.
      done()
    }).catch((err: Error) => { client.stream.destroy(err) })
  }
  client.on('connect', () => {
    client.subscribe(`$share/workers/im/u/${bot}/inbox`, { qos: 1 }, err => { if (err !== null) client.emit('error', err) })
  })
  return client
}
