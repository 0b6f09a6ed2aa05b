import Testing

@testable import PeerNet

@Suite struct MultistreamTests {
    @Test(arguments: [
        ("/multistream/1.0.0", "132f6d756c746973747265616d2f312e302e300a"), ("/noise", "072f6e6f6973650a"),
        ("/yamux/1.0.0", "0d2f79616d75782f312e302e300a"), ("na", "036e610a"), ("ls", "036c730a"),
    ])
    func linesMatchTheVectors(text: String, line: String) throws {
        #expect(MultistreamLine.encode(text) == hex(line))
        var queue = ByteQueue()
        queue.append(hex(line) + [0x55])
        #expect(try MultistreamLine.take(from: &queue) == Array(text.utf8))
        #expect(queue.count == 1)
    }

    /// Runs both sides against each other, bytes cut into pieces of `chunk`.
    private func negotiate(_ candidates: [String], _ supported: Set<String>, chunk: Int) throws
        -> (MultistreamDialer.Outcome?, String?)
    {
        var dialer = MultistreamDialer(candidates: candidates)
        var listener = MultistreamListener()
        var toListener = dialer.opening
        var toDialer: [UInt8] = []
        var dialerInput = ByteQueue()
        var listenerInput = ByteQueue()
        var outcome: MultistreamDialer.Outcome?
        var agreed: String?
        while !toListener.isEmpty || !toDialer.isEmpty {
            if !toListener.isEmpty, agreed == nil {
                listenerInput.append(Array(toListener.prefix(chunk)))
                toListener.removeFirst(min(chunk, toListener.count))
                agreed = try listener.receive(from: &listenerInput, into: &toDialer) { supported.contains($0) }
            }
            if !toDialer.isEmpty {
                dialerInput.append(Array(toDialer.prefix(chunk)))
                toDialer.removeFirst(min(chunk, toDialer.count))
                outcome = try dialer.receive(from: &dialerInput, into: &toListener) ?? outcome
            }
        }
        return (outcome, agreed)
    }

    @Test(arguments: [1, 2, 7, 1000])
    func theFirstCommonProposalIsAgreed(chunk: Int) throws {
        let (outcome, agreed) = try negotiate(["/a", "/b", "/c"], ["/c", "/b"], chunk: chunk)
        #expect(outcome == .agreed("/b"))
        #expect(agreed == "/b")
        let (refused, none) = try negotiate(["/a", "/b"], ["/c"], chunk: chunk)
        #expect(refused == .refused)
        #expect(none == nil)
    }

    @Test func pipelinedBytesStayBehindTheAgreement() throws {
        var listener = MultistreamListener()
        var queue = ByteQueue()
        queue.append(MultistreamDialer(candidates: ["/a"]).opening + [1, 2, 3])
        var output: [UInt8] = []
        #expect(try listener.receive(from: &queue, into: &output) { $0 == "/a" } == "/a")
        #expect(queue.take(queue.count) == [1, 2, 3])
    }

    @Test(arguments: [
        ("0a", "empty"), ("00", "zero length"), ("8108", "length 1025"), ("ffffffffffffffffff7f", "overlong"),
        ("8000", "not shortest"), ("0361620a", "not the header"), ("03616263", "no newline"),
    ])
    func malformedLinesEndTheNegotiation(text: String, reason: String) {
        var listener = MultistreamListener()
        var queue = ByteQueue()
        queue.append(hex(text) + [UInt8](repeating: 0x61, count: 10))
        var output: [UInt8] = []
        #expect(throws: Violation.self, "\(reason)") {
            _ = try listener.receive(from: &queue, into: &output) { _ in true }
        }
    }

    @Test func endlessProposalsAreCutOff() throws {
        var listener = MultistreamListener()
        var queue = ByteQueue()
        queue.append(MultistreamLine.encode("/multistream/1.0.0"))
        for _ in 0...MultistreamLimits.proposalsMax { queue.append(MultistreamLine.encode("/x")) }
        var output: [UInt8] = []
        #expect(throws: Violation.multistreamProposalsTooMany(max: MultistreamLimits.proposalsMax)) {
            _ = try listener.receive(from: &queue, into: &output) { _ in false }
        }
    }

    @Test func anAnswerToAnotherProposalEndsTheNegotiation() {
        var dialer = MultistreamDialer(candidates: ["/a"])
        var queue = ByteQueue()
        queue.append(MultistreamLine.encode("/multistream/1.0.0") + MultistreamLine.encode("/b"))
        var output: [UInt8] = []
        #expect(throws: Violation.multistreamAnswerUnexpected) {
            _ = try dialer.receive(from: &queue, into: &output)
        }
    }
}
