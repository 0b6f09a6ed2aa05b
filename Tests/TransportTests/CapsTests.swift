import PeerNet
import Testing

@testable import Transport

/// The caps and the shaped link, with real sockets and so with real time: some seconds in all.
@Suite(.timeLimit(.minutes(1)), .serialized) struct CapsTests {
    @Test func theUploadCapIsMetWithinFivePercent() async throws {
        let cap = 4_000_000
        let rate = try await ConnectionBench(uploadBytesPerSecond: cap).throughput(for: .seconds(4)).bytesPerSecond
        #expect(abs(rate / Double(cap) - 1) < 0.05, "\(rate)")
    }

    @Test func theDownloadCapIsMetWithinFivePercent() async throws {
        let cap = 4_000_000
        let rate = try await ConnectionBench(downloadBytesPerSecond: cap).throughput(for: .seconds(4)).bytesPerSecond
        #expect(abs(rate / Double(cap) - 1) < 0.05, "\(rate)")
    }

    @Test func manySmallResponsesKeepToTheDownloadCapToo() async throws {
        let cap = 1_000_000
        let (taker, giver) = (makeHost(1) { $0.downloadBytesPerSecond = cap }, makeHost(2))
        let block = [UInt8](repeating: 7, count: 100_000)
        await giver.serve("/test/blob", requestBytesMax: 1) { _, _ in .bytes(block) }
        try await join(taker, giver)
        let peer = giver.peerID
        let start = ContinuousClock.now
        // Each fits the window that a stream starts with, so credit alone would hold none of them back.
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<25 {
                group.addTask {
                    try await taker.request([1], to: peer, on: "/test/blob", responseBytesMax: 100_000).count
                }
            }
            for try await count in group { #expect(count == 100_000) }
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        #expect(seconds > 2.25, "\(seconds)")
        #expect(seconds < 4, "\(seconds)")
        #expect(await stop(taker, giver))
    }

    @Test func controlPassesBulkThatWaitsForTheCap() async throws {
        let (giver, taker) = (makeHost(1) { $0.uploadBytesPerSecond = 200_000 }, makeHost(2))
        let block = [UInt8](repeating: 7, count: 4 << 20)
        await giver.serve("/test/blob", requestBytesMax: 1) { _, _ in .bytes(block) }
        try await join(giver, taker)
        let peer = giver.peerID
        let fetch = Task { try await taker.request([1], to: peer, on: "/test/blob", responseBytesMax: 4 << 20) }
        while await taker.traffic().bytesReceived < 50_000 { await Task.yield() }
        // The rest of the response would take 20 seconds.
        for _ in 0..<20 {
            let roundTrip = try await giver.ping(taker.peerID)
            #expect(roundTrip < .milliseconds(100))
        }
        fetch.cancel()
        _ = await fetch.result
        #expect(await stop(giver, taker))
    }

    @Test func aPeerThatFloodsIsNotReadFasterThanTheCap() async throws {
        let (victim, flooder) = (makeHost(1) { $0.downloadBytesPerSecond = 500_000 }, makeHost(2))
        await victim.acceptMessages(on: "/test/flood", messageBytesMax: 70_000)
        try await join(flooder, victim)
        let start = ContinuousClock.now
        for _ in 0..<30 {
            await flooder.send([UInt8](repeating: 1, count: 50_000), to: victim.peerID, on: "/test/flood")
        }
        for _ in 0..<30 { _ = await victim.message() }
        // 1.5 MB less the debt that is allowed.
        let seconds = (ContinuousClock.now - start).inSeconds
        #expect(seconds > 1.5, "\(seconds)")
        #expect(await stop(victim, flooder))
    }

    @Test func aFullSlowLinkStaysFullAndLetsHeartbeatsPass() async throws {
        let shape = LinkShape(bytesPerSecond: 2_500_000, oneWayDelay: .milliseconds(75), queue: .milliseconds(50))
        let result = try await ConnectionBench().shaped(shape, settling: .seconds(2), for: .seconds(4))
        #expect(result.bytesPerSecond > 0.92 * shape.bytesPerSecond, "\(result.bytesPerSecond)")
        #expect(result.extraDelays.count > 50)
        let late = try #require(result.extraDelays.dropLast(result.extraDelays.count / 20).last)
        // The goal is 100 ms, of which the link's queue takes 50; a busy machine wakes the loop late.
        #expect(late < .milliseconds(150), "\(late)")
    }

    @Test func theShapedQueueKeepsRateDelayAndOrder() {
        let shape = LinkShape(bytesPerSecond: 1_514_000, oneWayDelay: .milliseconds(10), queue: .milliseconds(5))
        var queue = ShapedQueue(shape)
        let start = Moment(nanoseconds: 1_000_000)
        let bytes = (0..<14480).map { UInt8(truncatingIfNeeded: $0 / 1448) }
        #expect(queue.hasRoom(at: start))
        bytes.withUnsafeBytes { queue.take($0, at: start) }
        // Ten segments of a millisecond each: half of them are more than the queue holds.
        #expect(!queue.hasRoom(at: start + .milliseconds(4)) && queue.hasRoom(at: start + .milliseconds(6)))
        #expect(queue.arrived(at: start + .milliseconds(10)).isEmpty)
        #expect(queue.arrived(at: start + .milliseconds(15)).count == 5 * 1448)
        #expect(queue.nextDue == start + .milliseconds(16))
        #expect(queue.arrived(at: start + .seconds(1)) == Array(bytes[(5 * 1448)...]))
        #expect(queue.count == 0 && queue.nextDue == nil)
    }
}
