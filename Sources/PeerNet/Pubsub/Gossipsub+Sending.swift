extension Gossipsub {
    /// Queues an entry for a peer. A peer for which not even control fits has not read for long, and is given up.
    mutating func enqueue(_ part: OutgoingQueue.Part, _ bytes: [UInt8], _ lane: OutgoingQueue.Lane, to peer: PeerID) {
        enqueue(OutgoingQueue.Entry(part: part, bytes: bytes), lane, to: peer)
    }

    /// Queues a message for a peer, unless it has it or could not take it.
    mutating func enqueueMessage(_ publishField: [UInt8], _ id: MessageID, _ lane: OutgoingQueue.Lane, to peer: PeerID)
    {
        guard let state = peers[peer], state.unwanted[id] == nil, publishField.count <= state.description.rpcBytesMax
        else { return }
        enqueue(OutgoingQueue.Entry(part: .message, bytes: publishField, id: id), lane, to: peer)
    }

    private mutating func enqueue(_ entry: OutgoingQueue.Entry, _ lane: OutgoingQueue.Lane, to peer: PeerID) {
        guard let index = peers.index(forKey: peer), !peers.values[index].isCondemned else { return }
        guard entry.part != .control || peers.values[index].isMeshCapable else { return }
        if peers.values[index].queue.push(entry, in: lane, costMax: PubsubLimits.queueBytesMax) {
            schedule(peer)
        } else if lane == .control {
            condemn(peer, .queueFull)
        }
    }

    /// Marks a peer as having something to send.
    mutating func schedule(_ peer: PeerID) {
        guard let index = peers.index(forKey: peer), !peers.values[index].isScheduled,
            !peers.values[index].queue.isEmpty
        else { return }
        peers.values[index].isScheduled = true
        scheduled.append(peer)
    }

    /// Packs what waits into RPCs, as far as the peers take them. Entries of one call share RPCs, so GRAFT, PRUNE and
    /// gossip of a heartbeat are coalesced.
    mutating func flush() {
        for peer in scheduled {
            guard let index = peers.index(forKey: peer) else { continue }
            peers.values[index].isScheduled = false
            while peers.values[index].inFlightBytes < PubsubLimits.inFlightBytesMax,
                let rpc = peers.values[index].queue.nextRPC()
            {
                let bytes = Uvarint.encode(rpc.count) + rpc
                peers.values[index].inFlightBytes += bytes.count
                outputs.append(.send(peer, bytes))
            }
        }
        scheduled.removeAll(keepingCapacity: true)
    }
}
