/**
 * The strict codec of MQTT 3.1, 3.1.1 and 5, server side: it reads what clients send and writes what the server sends.
 * Every fault is a `ProtocolError`. Signatures:
 *
 * new Framer({ maxPacketBytes }): feed(chunk, sink), pause(), resume(sink), close(), paused, closed, pendingBytes,
 *   allocatedBytes, maxPacketBytes (settable); sink(first, buf, start, end, frameStart)
 * decodeConnect(buf, start, end, limits?): ConnectFrame
 * decodePublish(first, buf, start, end, version, limits?): PublishFrame
 * decodeSubscribe(buf, start, end, version, limits?): SubscribeFrame
 * decodeUnsubscribe(buf, start, end, version, limits?): UnsubscribeFrame
 * decodeAck(first, buf, start, end, version): AckFrame
 * ackPacketId(buf, start, end): number
 * decodeDisconnect(buf, start, end, version): DisconnectFrame
 * decodeAuth(buf, start, end): AuthFrame
 * encodeAuth(reasonCode, method, data): Buffer; authReasons
 * encodeConnackRefusal(version, code, serverReference?): Buffer
 * encodeSuback(version, packetId, codes): Buffer
 * encodeUnsuback(version, packetId, codes): Buffer
 * encodeAck(type, version, packetId, reasonCode?, reasonString?, userProperties?): Buffer
 * encodeDisconnect(reasonCode, serverReference?): Buffer
 * encodeSubscribe(version, packetId, subscriptions, subscriptionIdentifier?): Buffer
 * pingresp: Buffer
 * writeAck(target, at, type, packetId): number
 * new AckWriter(firstName, secondName): size(first, second), write(target, at, type, packetId, first, second): number
 * publishHeader(qos, dup, retain): number
 * encodePublishProperties(properties): Buffer, with its length prefix; noProperties: Buffer (MQTT 5, none)
 * publishSize(topicBytes, qos, payloadBytes, properties): number; `properties` is undefined for MQTT 3.x, and only there
 * writePublish(target, at, header, packetId, topicBytes, properties, payload): number
 */
export * from './types.ts'
export { ProtocolError } from './protocol-error.ts'
export { Framer, type FrameSink } from './framer.ts'
export { decodeConnect } from './connect.ts'
export { decodePublish } from './publish.ts'
export { decodeSubscribe, decodeUnsubscribe } from './subscribe.ts'
export { decodeAck, ackPacketId, decodeDisconnect } from './acknowledgement.ts'
export { authReasons, decodeAuth, encodeAuth } from './auth.ts'
export { encodeConnackRefusal, encodeSuback, encodeUnsuback, encodeAck, encodeDisconnect, encodeSubscribe, pingresp } from './server-packets.ts'
export { AckWriter } from './ack-writer.ts'
export { writeAck, publishHeader, encodePublish, encodePublishProperties, noProperties, publishSize, writePublish } from './publish-writer.ts'
