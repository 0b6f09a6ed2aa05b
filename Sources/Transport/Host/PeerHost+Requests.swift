package import PeerNet

/// Request/response streams, both sides.
extension PeerHost {
    /// First receive window of a response that may be large; tuning goes on from there.
    private static let responseWindowBytes = 4 << 20
    /// A response is produced no further ahead of the socket than this.
    private static let responseQueueBytesMax = 256 << 10

    // MARK: Asking

    /// Opens a stream, sends `body`, half-closes, and collects the response. Cancelling the task resets the stream.
    /// With a `sink` the response is not collected but handed over piece by piece, on the loop's thread, which must not
    /// be held up; the result is then empty.
    package func request(
        _ body: [UInt8], to peer: PeerID, on name: String, responseBytesMax: Int,
        sink: (@Sendable ([UInt8]) -> Void)? = nil
    ) async throws(RequestError) -> [UInt8] {
        let id = newID()
        let result: Result<[UInt8], RequestError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let call = RequestCall(
                    id: id, peer: peer, protocolName: name, body: body, responseBytesMax: responseBytesMax,
                    at: Loop.now, sink: sink, continuation: continuation)
                enqueue(call)
            }
        } onCancel: {
            // Awaited by nobody: it only takes the request out, which is a no-op once that has ended.
            Task { await self.cancelRequest(id) }
        }
        return try result.get()
    }

    private func enqueue(_ call: RequestCall) {
        guard state == .running, let entry = entries[call.peer] else {
            return call.continuation.resume(returning: .failure(.notConnected))
        }
        guard !Task.isCancelled else { return call.continuation.resume(returning: .failure(.cancelled)) }
        calls[call.id] = call
        if entry.runningRequests < limits.outboundRequestsMax, caps.mayStart(call, at: Loop.now) {
            start(call, of: entry)
        } else if entry.waitingRequests.count < limits.waitingRequestsMax {
            entry.waitingRequests.append(call)
            setPacing(at: Loop.now)
        } else {
            calls[call.id] = nil
            call.continuation.resume(returning: .failure(.tooManyWaiting))
        }
    }

    private func start(_ call: RequestCall, of entry: PeerEntry) {
        let link = link(for: call, of: entry)
        let window = min(
            call.responseBytesMax, Self.responseWindowBytes,
            caps.responseWindowBytesMax(roundTrip: link.connection.roundTrip))
        guard
            let stream = link.connection.openStream(
                call.protocolName, priority: .control, windowBytes: window, at: Loop.now)
        else {
            calls[call.id] = nil
            return call.continuation.resume(returning: .failure(.tooManyWaiting))
        }
        entry.runningRequests += 1
        caps.prepay(call, windowBytes: window)
        call.link = link
        call.stream = stream
        call.progressAt = Loop.now
        link.uses[stream] = .requestOut(call)
        link.connection.write(call.body, to: stream)
        link.connection.finish(stream)
        scheduleFlush(link)
    }

    func receivedResponse(_ bytes: [UInt8], of call: RequestCall, _ stream: StreamID, on link: Link, at now: Moment) {
        guard bytes.count <= call.responseBytesMax - call.receivedBytes else {
            link.uses[stream] = nil
            link.connection.reset(stream)
            return finish(call, .failure(.responseTooLarge(bytesMax: call.responseBytesMax)))
        }
        call.progressAt = now
        call.receivedBytes += bytes.count
        entries[call.peer]?.use.add(bytes.count, at: now)
        if call.responseBytesMax > Self.largeResponseBytes { entries[call.peer]?.largeBytes += bytes.count }
        if let sink = call.sink { sink(bytes) } else { call.response += bytes }
        if caps.withholds(bytes.count, of: call) {
            servePacedDownload(at: now)
        } else {
            link.connection.consume(bytes.count, of: stream, at: now)
        }
    }

    /// Ends a request once, and lets the next one that waits start.
    func finish(_ call: RequestCall, _ result: Result<[UInt8], RequestError>) {
        guard calls.removeValue(forKey: call.id) != nil else { return }
        caps.settle(call)
        setPacing(at: Loop.now)
        call.continuation.resume(returning: result)
        guard let entry = entries[call.peer] else { return }
        if call.stream == nil {
            entry.waitingRequests.removeAll { $0 === call }
            return
        }
        entry.runningRequests -= 1
        startWaitingRequests(of: entry)
    }

    func startWaitingRequests(of entry: PeerEntry) {
        while entry.runningRequests < limits.outboundRequestsMax, !entry.waitingRequests.isEmpty,
            entry.link.closeReason == nil, caps.mayStart(entry.waitingRequests[0], at: Loop.now)
        {
            start(entry.waitingRequests.removeFirst(), of: entry)
        }
        setPacing(at: Loop.now)
    }

    private func cancelRequest(_ id: UInt64) { abandonRequest(id, .cancelled) }

    private func abandonRequest(_ id: UInt64, _ error: RequestError) {
        guard let call = calls[id] else { return }
        if let link = call.link, let stream = call.stream {
            link.uses[stream] = nil
            link.connection.reset(stream)
            scheduleFlush(link)
        }
        finish(call, .failure(error))
    }

    // MARK: Answering

    /// Answers requests of at most `requestBytesMax` bytes on `name`; nil closes the stream without bytes.
    /// `handler` runs on the default executor. Peers that are connected are told.
    package func serve(_ name: String, requestBytesMax: Int, handler: @escaping RequestHandler) {
        requestProtocols[name] = (requestBytesMax, handler)
        isAnnouncementDue = true
    }

    func acceptRequest(_ stream: StreamID, _ name: String, bytesMax: Int, on link: Link) {
        guard max(link.servedStreams.count, link.answering) < limits.servedRequestsMax else {
            link.connection.reset(stream)
            return offended(link, weight: 1, "it sends more requests than are served at once")
        }
        link.servedStreams.insert(stream)
        link.uses[stream] = .requestIn(name, body: [], bytesMax: bytesMax, startedAt: Loop.now)
    }

    func receivedRequest(
        _ bytes: [UInt8], _ body: [UInt8], _ name: String, bytesMax: Int, startedAt: Moment, _ stream: StreamID,
        on link: Link, at now: Moment
    ) {
        guard bytes.count <= bytesMax - body.count else {
            link.connection.reset(stream)
            link.servedStreams.remove(stream)
            return offended(link, weight: 4, "its requests are too long")
        }
        link.uses[stream] = .requestIn(name, body: body + bytes, bytesMax: bytesMax, startedAt: startedAt)
        link.connection.consume(bytes.count, of: stream, at: now)
    }

    func serveRequest(_ body: [UInt8], _ name: String, _ stream: StreamID, on link: Link) {
        guard let peer = link.peer, let handler = requestProtocols[name]?.handler, state == .running else { return }
        let linkID = link.id
        link.uses[stream] = .responding(waiter: nil, queuedBytes: 0, progressAt: Loop.now)
        link.answering += 1
        startTask { host in
            let response = await handler(peer, body)
            await host.respond(response, stream, linkID)
            host.links[linkID]?.answering -= 1
        }
    }

    /// Sends a response no faster than the peer takes it.
    private func respond(_ response: ResponseBody?, _ stream: StreamID, _ linkID: UInt64) async {
        switch response {
        case nil: break
        case .bytes(let bytes)?: _ = await sendResponse(bytes, stream, linkID)
        case .pieces(let next)?:
            while let piece = await next() {
                guard await sendResponse(piece, stream, linkID) else { return }
            }
        }
        guard let link = links[linkID], case .responding? = link.uses[stream] else { return }
        link.connection.finish(stream)
        scheduleFlush(link)
    }

    /// Queues bytes of a response and waits until little of them is left; false if the stream is gone.
    private func sendResponse(_ bytes: [UInt8], _ stream: StreamID, _ linkID: UInt64) async -> Bool {
        guard let link = links[linkID], case .responding? = link.uses[stream] else { return false }
        link.connection.write(bytes, to: stream)
        scheduleFlush(link)
        return await withCheckedContinuation { continuation in
            guard case .responding? = link.uses[stream] else { return continuation.resume(returning: false) }
            let queued = link.connection.queuedBytes(of: stream)
            let mustWait = queued > Self.responseQueueBytesMax
            link.uses[stream] = .responding(
                waiter: mustWait ? continuation : nil, queuedBytes: queued, progressAt: Loop.now)
            if !mustWait { continuation.resume(returning: true) }
        }
    }

    func streamWritable(_ stream: StreamID, on link: Link) {
        if case .session(let session)? = link.uses[stream] { return sessionWritable(session) }
        guard case .responding(let waiter?, let queued, _)? = link.uses[stream] else { return }
        link.uses[stream] = .responding(waiter: nil, queuedBytes: queued, progressAt: Loop.now)
        waiter.resume(returning: true)
    }

    // MARK: Time

    /// Gives up requests, in both directions, that show no progress.
    func abandonStalledRequests(at now: Moment) {
        let oldest = now + (.zero - limits.stallTimeout)
        for (id, call) in calls where call.stream != nil && call.progressAt < oldest { abandonRequest(id, .stalled) }
        for link in links.values {
            for (stream, use) in link.uses {
                switch use {
                case .requestIn(_, _, _, let startedAt):
                    if startedAt < oldest {
                        abandonServed(stream, on: link)
                        offended(link, weight: 4, "its requests do not end")
                    }
                case .responding(let waiter, let queuedBytes, let progressAt):
                    let queued = link.connection.queuedBytes(of: stream)
                    if queued != queuedBytes || queued == 0 {
                        link.uses[stream] = .responding(waiter: waiter, queuedBytes: queued, progressAt: now)
                    } else if progressAt < oldest {
                        abandonServed(stream, on: link)
                        waiter?.resume(returning: false)
                        if queued > 0 { offended(link, weight: 4, "it does not take the answers to its requests") }
                    }
                case .messagesOut, .messagesIn, .requestOut, .gossipOut, .gossipIn, .kademliaOut, .kademliaIn, .session:
                    break
                }
            }
        }
    }

    /// Counts what a peer asked beyond its limits; whoever goes on like that is dropped.
    func offended(_ link: Link, weight: Int, _ what: String) {
        guard link.offences.add(weight, at: Loop.now) > limits.offencesMax else { return }
        close(link, .local("the peer asks for too much: \(what)"))
    }

    private func abandonServed(_ stream: StreamID, on link: Link) {
        link.uses[stream] = nil
        link.servedStreams.remove(stream)
        link.connection.reset(stream)
        scheduleFlush(link)
    }
}
