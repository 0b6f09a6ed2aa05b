import Compression
import FuzzSupport
import OuterSync
import PeerNet
import Testing

@testable import Swarm

/// Every decoder of Swarm that a peer, a file or a flag can reach, on changed good inputs: none traps.
@Suite struct DecoderFuzzTests {
    @Test func messagesAndTheCoreBehindThem() {
        var fuzzer = Fuzzer(seed: 11)
        let swarm = TestSwarm(nodes: 3)
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        let accepted = fuzzer.run("swarm message", MessageTests.samples) {
            (try? Message(bytes: $0, in: context)) != nil
        }
        #expect(accepted > 0)
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 5)
        let author = swarm.nodes[1].peerID
        _ = fuzzer.run("swarm core", MessageTests.samples) { bytes in
            swarm.perform(.received(from: author, message: bytes), on: swarm.nodes[0])
            return true
        }
    }

    /// What stands behind a signature that an attacker makes himself.
    @Test func signedBodies() throws {
        var fuzzer = Fuzzer(seed: 13)
        let fixture = RoundFixture()
        let context = fixture.context
        let tip = fixture.ledger().tip
        let commit = fixture.commit(fixture.roster(tip), tip: tip) { value in
            value.payloads[0].feedback = .init(continues: true, after: Digest(hashing: [1]))
        }
        var result = commit.results[0].content
        result.feedback = FeedbackDigests(before: Digest(hashing: [1]), after: Digest(hashing: [2]))
        let results = fuzzer.run("result body", [result.body, commit.results[1].body]) { body in
            (try? OwnerResult(body: body, in: context)) != nil
        }
        let values = fuzzer.run("commit value", [commit.valueBytes]) { bytes in
            (try? CommitValue(bytes: bytes, in: context)) != nil
        }
        let finals = [fixture.nextFinal(tip).bytes]
        let accepted = fuzzer.run("final", finals) { (try? Final(bytes: $0, in: context)) != nil }
        #expect(results > 0 && values > 0 && accepted > 0)
    }

    /// Every input meets a core that still listens to the peer, so that its handler is reached.
    @Test func linkMessagesAndTheCoreBehindThem() throws {
        var fuzzer = Fuzzer(seed: 31)
        let swarm = TestSwarm(nodes: 3)
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 5)
        var core = try #require(swarm.nodes[0].core)
        let (me, author) = (swarm.nodes[0].peerID, swarm.nodes[1].identity)
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        var offences: Set<String> = []
        func reaches(_ bytes: [UInt8]) -> Bool {
            var outputs: [NodeCore.Output] = []
            core.links.update(author.peerID) { link in
                link.allowance = nil
                if bytes.count.isMultiple(of: 16) { link.theirs = [:] }
            }
            core.handle(.linkReceived(from: author.peerID, message: bytes), at: swarm.now, into: &outputs)
            for case .event(.violation(_, let reason)) in outputs { offences.insert(reason) }
            return (try? LinkMessage(bytes: bytes, from: author.peerID, in: context)) != nil
        }
        // Changed inside an envelope that passes; those of the whole message are below.
        var envelope = WireLinkEnvelope()
        envelope.version = LinkMessage.version
        envelope.swarmID = wire(swarm.swarmID.bytes)
        let start = encode(envelope)
        func enclosed(_ field: UInt8, _ bytes: [UInt8]) -> [UInt8] {
            let count = UInt8(truncatingIfNeeded: bytes.count)
            let length = bytes.count < 128 ? [count] : [count | 0x80, UInt8(truncatingIfNeeded: bytes.count >> 7)]
            return start + [field << 3 | 2] + length + bytes
        }
        var hello = WireLinkHello()
        hello.families = [0, 1, 4]
        hello.payloadBytesMax = 70_000
        var report = WireLinkReport()
        report.receivedKbits = 1_234
        report.roundTripMicros = 17_000
        let hellos = fuzzer.run("link hello", [encode(hello)]) { reaches(enclosed(3, $0)) }
        let reports = fuzzer.run("link report", [encode(report)]) { reaches(enclosed(4, $0)) }
        #expect(hellos > Fuzzer.inputsPerDecoder / 20 && reports > Fuzzer.inputsPerDecoder / 20)
        let samples = LinkMessageTests.samples.map { $0.bytes(in: context) }
        _ = fuzzer.run("link message", samples, reaches)
        let bodies = [Codec.e3m0, .float32].flatMap { codec in
            (1...3).map { count in
                LinkTable(
                    receiver: me, fragment: FragmentIndex(count % 2), version: UInt32(count),
                    CodecTable(
                        fromRound: RoundIndex(UInt64(count)), codecs: [Codec](repeating: codec, count: count),
                        byteCount: 900)
                ).body
            }
        }
        let tables = fuzzer.run("link table", bodies) { body in
            envelope.table.body = wire(body)
            envelope.table.signature = wire(author.sign(context.statement(LinkTable.kind, body)))
            return reaches(encode(envelope))
        }
        #expect(tables > Fuzzer.inputsPerDecoder / 50)
        // Each of a table's checks was met, and never the bound on messages.
        for reason in [
            "a table is for another receiver", "a table has a codec that is not allowed",
            "a table does not follow the one before it", "a table is for more tiles or bytes than the fragment has",
        ] { #expect(offences.contains(reason), "\(reason)") }
        #expect(!offences.contains("it sends link messages too often"))
    }

    @Test func recordsOfBranchesAndExperts() throws {
        var fuzzer = Fuzzer(seed: 13)
        let branch = try BranchSamples.branch()
        let expert = BranchSamples.expert(BranchSamples.record(of: branch.id), by: 3)
        let accepted = fuzzer.run("branch", [branch.bytes]) {
            (try? Branch(bytes: $0, swarmID: BranchSamples.swarmID)) != nil
        }
        #expect(accepted < Fuzzer.inputsPerDecoder)
        _ = fuzzer.run("branch body", [branch.record.body]) {
            (try? BranchRecord(body: $0, in: BranchSamples.context)) != nil
        }
        _ = fuzzer.run("expert body", [expert.record.body]) {
            (try? ExpertRecord(body: $0, in: BranchSamples.context)) != nil
        }
        _ = fuzzer.run("record on disk", [RecordNotice(branch).bytes, RecordNotice(expert).bytes]) {
            (try? RecordNotice(bytes: $0)) != nil
        }
    }

    @Test func chartersAndInvites() throws {
        var fuzzer = Fuzzer(seed: 12)
        let swarm = TestSwarm(nodes: 1)
        let sealed = try swarm.charter.sealed(by: swarm.nodes[0].identity)
        let accepted = fuzzer.run("charter", [sealed]) { (try? Charter.opened($0)) != nil }
        #expect(accepted < Fuzzer.inputsPerDecoder)
        let invite = Invite(
            swarmID: swarm.swarmID,
            bootstrap: [try Multiaddr("/ip4/192.0.2.1/tcp/1/p2p/\(swarm.nodes[0].peerID)")])
        _ = fuzzer.run("invite", [Array(invite.text.utf8)]) { bytes in
            (try? Invite.parse(String(decoding: bytes, as: UTF8.self))) != nil
        }
    }
}
