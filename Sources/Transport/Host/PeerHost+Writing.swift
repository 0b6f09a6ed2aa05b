import PeerNet

/// Writing: what leaves when, under the cap and no further ahead of each socket than its rate allows.
extension PeerHost {
    /// Writes in a row before other sockets get their turn.
    private static let writesInARow = 4

    /// What a link may write now.
    private enum Allowance { case nothing, control, everything }

    /// Flushes a link once the jobs at hand are done, so that what they write leaves in one piece.
    func scheduleFlush(_ link: Link) {
        guard !link.isFlushScheduled, !link.handle.isWriting else { return }
        link.isFlushScheduled = true
        loop.whenIdle {
            link.isFlushScheduled = false
            self.flush(link, writesMax: Self.writesInARow, isItsTurn: false)
        }
    }

    private func flush(_ link: Link, writesMax: Int, isItsTurn: Bool) {
        guard links[link.id] != nil else { return }
        let chunkBytes = min(link.sendRate.writeBytes, caps.uploadChunkBytes)
        var fullWrites = 0
        for _ in 0..<writesMax {
            let allowance = isItsTurn ? .everything : allowance(at: Loop.now)
            guard !link.handle.isWriting, !link.handle.isClosing, allowance != .nothing else { break }
            link.output.removeAll(keepingCapacity: true)
            link.connection.produce(
                into: &link.output, bytesMax: chunkBytes, includingBulk: allowance == .everything, at: Loop.now)
            guard !link.output.isEmpty else { break }
            caps.upload?.take(link.output.count)
            let written = link.handle.write(link.output)
            count(link, sent: written)
            link.sendRate.accepted(written)
            if written >= chunkBytes { fullWrites += 1 }
        }
        if fullWrites == Self.writesInARow, !link.handle.isWriting { link.sendRate.unhindered() }
        fitSocket(of: link)
        if link.output.capacity > 4 * chunkBytes + (64 << 10) { link.output = [] }
        handleEvents(of: link)
        gossipFlushed(link)
        guard !link.handle.isWriting else { return }
        if link.connection.hasOutput() {
            let next = allowance(at: Loop.now)
            if next == .everything || next == .control && link.connection.hasOutput(includingBulk: false) {
                scheduleFlush(link)
            } else {
                waitForUpload(link)
            }
            return
        }
        link.sendRate.idle()
        guard let reason = link.closeReason else { return }
        // Everything is out. A goodbye is followed by the end of our direction, and by the socket's close when the
        // peer has read it: closing at once could reset the connection and lose what is on its way.
        if case .local = reason, link.peer != nil { link.handle.shutdownWriting() } else { finishClosing(link) }
    }

    /// Lets the socket's own queue follow the measured rate.
    private func fitSocket(of link: Link) {
        let wanted = min(link.sendRate.unsentBytes, caps.unsentBytesMax)
        let present = link.handle.unsentBytesMax
        if wanted * 2 > present * 3 || wanted * 3 < present * 2 { link.handle.limitUnsent(to: wanted) }
    }

    // MARK: The upload cap

    /// Bulk waits its turn for a paid-up cap; control may run it into a little debt.
    private func allowance(at now: Moment) -> Allowance {
        guard let level = caps.upload?.level(at: now) else { return .everything }
        if level >= 0, caps.pacedLinks.isEmpty { return .everything }
        return level > -caps.uploadDebtMax ? .control : .nothing
    }

    private func waitForUpload(_ link: Link) {
        if !link.isPaced {
            link.isPaced = true
            caps.pacedLinks.append(link)
        }
        setPacing(at: Loop.now)
    }

    /// Gives each link that waits one write in turn, as long as the cap allows.
    func servePacedUpload(at now: Moment) {
        while !caps.pacedLinks.isEmpty, let level = caps.upload?.level(at: now), level >= 0 {
            let link = caps.pacedLinks.removeFirst()
            link.isPaced = false
            flush(link, writesMax: 1, isItsTurn: true)
        }
    }
}
