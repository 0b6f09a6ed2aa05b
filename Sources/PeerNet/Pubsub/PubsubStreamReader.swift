/// Cuts the bytes of one inbound pubsub stream into RPCs. A second stream of the same peer needs a fresh reader.
package struct PubsubStreamReader: Sendable {
    private var input = ByteQueue()

    /// Starts with an empty buffer.
    package init() {}

    /// Takes bytes of the stream; call `next` until nil before the following ones, so that the buffer stays small.
    package mutating func append(_ bytes: [UInt8]) { input.append(bytes) }

    /// The next whole RPC without its length; nil if more bytes are needed. Empty RPCs are skipped. A length beyond the
    /// limit is refused before its bytes are waited for.
    package mutating func next() throws(RPCFault) -> [UInt8]? {
        while true {
            switch Uvarint.read(input.prefix(Uvarint.byteCountMax)) {
            case .incomplete: return nil
            case .malformed: throw .lengthMalformed
            case .value(let length, let prefixBytes):
                guard length <= UInt64(PubsubLimits.rpcBytesMax) else {
                    throw .tooLong(bytes: length, bytesMax: PubsubLimits.rpcBytesMax)
                }
                guard input.count >= prefixBytes + Int(length) else { return nil }
                input.drop(prefixBytes)
                if length > 0 { return input.take(Int(length)) }
            }
        }
    }
}
