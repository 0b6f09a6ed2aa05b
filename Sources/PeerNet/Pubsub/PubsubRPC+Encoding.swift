extension PubsubRPC {
    /// Encoded entries of RPCs: whole `subscriptions` fields, and fields of `control` without the field around them, so
    /// that the entries of one RPC share it.
    enum Entry {
        static func subscription(_ topic: Topic, isSubscribed: Bool) -> [UInt8] {
            var entry = ProtobufWriter()
            entry.append(varint: isSubscribed ? 1 : 0, field: 1)
            entry.append(topic.bytes, field: 2)
            return wrap(entry, field: 1)
        }

        static func have(_ topic: Topic, _ ids: some Collection<MessageID>) -> [UInt8] {
            var entry = ProtobufWriter()
            entry.reserve(topic.bytes.count + 4 + ids.count * (MessageID.byteCount + 2))
            entry.append(topic.bytes, field: 1)
            for id in ids { entry.append(id.bytes, field: 2) }
            return wrap(entry, field: 1)
        }

        static func want(_ ids: some Collection<MessageID>) -> [UInt8] { list(ids, field: 2) }

        static func graft(_ topic: Topic) -> [UInt8] {
            var entry = ProtobufWriter()
            entry.append(topic.bytes, field: 1)
            return wrap(entry, field: 3)
        }

        static func prune(_ topic: Topic, peers: [SuggestedPeer], backoffSeconds: UInt64?) -> [UInt8] {
            var entry = ProtobufWriter()
            entry.append(topic.bytes, field: 1)
            for suggested in peers {
                var inner = ProtobufWriter()
                inner.append(suggested.peer.bytes, field: 1)
                if let envelope = suggested.envelope { inner.append(envelope, field: 2) }
                entry.append(inner.bytes, field: 2)
            }
            if let backoffSeconds { entry.append(varint: backoffSeconds, field: 3) }
            return wrap(entry, field: 4)
        }

        static func dontWant(_ ids: some Collection<MessageID>) -> [UInt8] { list(ids, field: 5) }

        /// How many ids fit one entry of a packed RPC.
        static func idsMax(controlBytesMax: Int) -> Int {
            (controlBytesMax - Topic.byteCountMax - 16) / (MessageID.byteCount + 2)
        }

        private static func list(_ ids: some Collection<MessageID>, field: UInt64) -> [UInt8] {
            var entry = ProtobufWriter()
            entry.reserve(ids.count * (MessageID.byteCount + 2))
            for id in ids { entry.append(id.bytes, field: 1) }
            return wrap(entry, field: field)
        }

        private static func wrap(_ entry: ProtobufWriter, field: UInt64) -> [UInt8] {
            var outer = ProtobufWriter()
            outer.append(entry.bytes, field: field)
            return outer.bytes
        }
    }
}
