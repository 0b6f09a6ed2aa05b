import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Messages from anywhere")
struct MessageTests {
    /// One real message of every kind, out of a short run with a newcomer.
    static let samples: [[UInt8]] = {
        let swarm = TestSwarm(nodes: 4)
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 200) { $0.nodes[0].heads.allSatisfy { $0.round >= 10 } }
        swarm.start(3)
        swarm.run(until: (swarm.now - .zero).inSeconds + 3)
        swarm.perform(.stopping, on: swarm.nodes[2])
        // Who may take part: a newcomer is let in, another refused.
        let closed = TestSwarm(nodes: 3, admission: .invite)
        closed.start(0)
        closed.nodes[1].credential = try? closed.issue()
        for number in 1..<3 { closed.start(number) }
        closed.run(until: 3)
        let admissions = closed.nodes.flatMap(\.sent).filter { bytes in
            switch try? Message(bytes: bytes, in: context) {
            case .admission?, .admissionRefused?: true
            default: false
            }
        }
        var samples: [String: [UInt8]] = [:]
        for bytes in swarm.nodes.flatMap(\.sent) + admissions {
            guard let message = try? Message(bytes: bytes, in: context) else { continue }
            let kind = "\(message)".prefix { $0 != "(" }
            if samples[String(kind)].map({ $0.count < bytes.count }) ?? true { samples[String(kind)] = bytes }
        }
        if let branch = try? BranchSamples.branch() {
            var notice = RecordNotice(branch)
            notice.experts = RecordNotice(BranchSamples.expert(BranchSamples.record(of: branch.id), by: 3)).experts
            samples["records"] = Message.records(notice).bytes(in: context)
        }
        return samples.keys.sorted().map { samples[$0]! }
    }()

    let swarm = TestSwarm(nodes: 3)
    var context: BranchContext { BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch) }

    @Test func everyKindHasARealSampleAndOneEncoding() throws {
        #expect(Self.samples.count == 19)
        for bytes in Self.samples {
            #expect(try Message(bytes: bytes, in: context).bytes(in: context) == bytes)
        }
    }

    @Test func gossipCarriesOnlyWhatSpeaksForItself() throws {
        swarm.start(0)
        let core = try #require(swarm.nodes[0].core)
        let stranger = swarm.nodes[2].peerID
        for bytes in Self.samples {
            let message = try Message(bytes: bytes, in: context)
            switch message {
            case .plan(let signed): expect(core, bytes, signed.signer)
            case .roster(let signed): expect(core, bytes, signed.signer)
            case .result(let signed): expect(core, bytes, signed.signer)
            case .commit(let signed): expect(core, bytes, signed.signer)
            case .final: #expect(core.judge(bytes, by: stranger) == .accept)
            case .admission(let notice):
                #expect((core.judge(bytes, by: stranger) == .accept) == !notice.presents)
            case .records(let notice):
                #expect((core.judge(bytes, by: stranger) == .accept) == (notice.summary == nil))
            default: #expect(core.judge(bytes, by: stranger) != .accept, "\(message)")
            }
            #expect(core.judge(Array(bytes.dropLast()), by: stranger) != .accept)
        }
        #expect(core.judge([], by: stranger) != .accept)

        func expect(_ core: NodeCore, _ bytes: [UInt8], _ signer: PeerID) {
            #expect(core.judge(bytes, by: signer) == .accept)
            for other in swarm.nodes.map(\.peerID) where other != signer {
                #expect(core.judge(bytes, by: other) != .accept)
            }
        }
    }

    @Test func everyTruncationIsRefused() {
        for bytes in Self.samples {
            for count in 0..<bytes.count {
                let cut = Array(bytes.prefix(count))
                guard let message = try? Message(bytes: cut, in: context) else { continue }
                // Cut between two fields of an unsigned message: a shorter message, never the same one.
                #expect(message.bytes(in: context) != bytes)
            }
        }
    }

    @Test func noChangedByteTrapsACore() {
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 5)
        let peer = swarm.nodes[1].peerID
        for bytes in Self.samples {
            let original = try? Message(bytes: bytes, in: context)
            for position in stride(from: 0, to: bytes.count, by: bytes.count > 1_000 ? 5 : 1) {
                var changed = bytes
                changed[position] ^= UInt8(truncatingIfNeeded: 1 << (position % 8))
                if let original, let message = try? Message(bytes: changed, in: context) {
                    #expect(message != original || changed == bytes, "a change at \(position) goes unnoticed")
                }
                guard position.isMultiple(of: 23), var core = swarm.nodes[0].core else { continue }
                var outputs: [NodeCore.Output] = []
                core.handle(.received(from: peer, message: changed), at: swarm.now, into: &outputs)
            }
        }
    }

    @Test func anotherSwarmsMessageIsAnsweredByADisconnectWithTheReason() {
        swarm.start(0)
        swarm.start(1)
        swarm.run(until: 1)
        let other = BranchContext(swarmID: Digest(hashing: [0]), branch: NodeCore.branch)
        var outputs: [NodeCore.Output] = []
        swarm.nodes[0].core?.handle(
            .received(from: swarm.nodes[1].peerID, message: Message.goodbye.bytes(in: other)), at: swarm.now,
            into: &outputs)
        #expect(outputs.contains(.disconnect(swarm.nodes[1].peerID, reason: "it belongs to another swarm")))
        outputs = []
        swarm.nodes[0].core?.handle(
            .received(
                from: swarm.nodes[1].peerID, message: [UInt8](repeating: 0, count: Limits.messageBytesMax + 1)),
            at: swarm.now, into: &outputs)
        #expect(outputs.contains(.disconnect(swarm.nodes[1].peerID, reason: "a message is too large")))
    }
}

@Suite("Charters")
struct CharterTests {
    let founder = testIdentity(5)

    @Test func aSealedCharterOpensToTheSameFields() throws {
        var charter = testCharter(founder: founder.peerID)
        charter.heldOut = Digest(hashing: [3])
        charter.encoding.feedback = 0.9
        charter.encoding.ladder = [.statistical(bits: 2), .topK(kept: 64)]
        charter.encoding.ownerFeedback = 0.75
        let bytes = try charter.sealed(by: founder)
        #expect(try Charter.opened(bytes) == charter)
        #expect(Charter.swarmID(ofSealed: bytes) == Digest(hashing: bytes))
        #expect(try charter.sealed(by: founder) == bytes)
    }

    @Test func onlyTheFounderSeals() {
        #expect(throws: CharterError.self) { try testCharter(founder: founder.peerID).sealed(by: testIdentity(6)) }
    }

    /// A charter of the first version meant owners' feedback by its ladder alone, and counted whole claims of tokens.
    @Test func chartersOfAnOlderVersionAreRefused() throws {
        var sealed = try Swarm.decode(
            WireSignedCharter.self, testCharter(founder: founder.peerID).sealed(by: founder))
        var body = try Swarm.decode(WireCharter.self, array(sealed.body))
        body.version = 1
        sealed.body = wire(encode(body))
        sealed.signature = wire(founder.sign(Array("atoll charter 1\0".utf8) + encode(body)))
        #expect(throws: CharterError.version(1)) { try Charter.opened(encode(sealed)) }
        #expect(CharterError.version(1).description.contains("this program knows version 2"))
    }

    @Test func everyTruncationAndChangedByteIsRefused() throws {
        let bytes = try testCharter(founder: founder.peerID).sealed(by: founder)
        for position in bytes.indices {
            #expect(throws: CharterError.self) { try Charter.opened(Array(bytes.prefix(position))) }
            var changed = bytes
            changed[position] ^= 1 << (position % 8)
            #expect(throws: CharterError.self) { try Charter.opened(changed) }
        }
        #expect(throws: CharterError.tooLarge) { try Charter.opened([UInt8](repeating: 0, count: 5_000)) }
    }

    @Test func fieldsOutOfRangeAreRefused() {
        let changes: [(inout Charter) -> Void] = [
            { $0.name = "" }, { $0.name = "two words" }, { $0.model.headWidth = 31 },
            { $0.model.keyValueHeadCount = 3 }, { $0.model.vocabularySize = 1 }, { $0.inner.learningRate = .nan },
            { $0.inner.beta2 = 1 }, { $0.outer.learningRate = 0 }, { $0.outer.momentum = 1 },
            { $0.blendAlpha = 1 }, { $0.overlapSteps = $0.innerStepsPerRound }, { $0.innerStepsPerRound = 0 },
            { $0.encoding.contribution = .topK(kept: 63) }, { $0.encoding.result = .uniform(bits: 9) },
            { $0.encoding.ladder = [.statistical(bits: 2)] },
            {
                $0.encoding.ladder = [.topK(kept: 63)]; $0.encoding.feedback = 1
            },
            {
                $0.encoding.ladder = [.e3m0]; $0.encoding.contribution = .e3m0; $0.encoding.feedback = 1
            },
            {
                $0.encoding.ladder = [.topK(kept: 64), .statistical(bits: 2)]; $0.encoding.feedback = 1
            },
            {
                $0.encoding.ladder = [.topK(kept: 64), .topK(kept: 64)]; $0.encoding.feedback = 1
            },
            {
                $0.encoding.ladder = (0..<9).map { .topK(kept: 64 - 2 * $0) }; $0.encoding.feedback = 1
            },
            { $0.encoding.feedback = 1.5 }, { $0.encoding.feedback = .nan }, { $0.tokenBudget = 0 },
            { $0.encoding.ownerFeedback = 1.5 }, { $0.encoding.ownerFeedback = .nan },
            { $0.encoding.ownerFeedback = -0.5 },
            {
                $0.encoding.ownerFeedback = 1; $0.encoding.result = .float32
            },
            { $0.weightCap = 0.5 },
            {
                $0.inner.batchSequences = 1 << 16; $0.model.contextLength = 1 << 20
            },
        ]
        for (number, change) in changes.enumerated() {
            var charter = testCharter(founder: founder.peerID)
            change(&charter)
            #expect(throws: CharterError.self, "change \(number)") { try charter.sealed(by: founder) }
        }
    }
}
