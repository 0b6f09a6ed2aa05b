import Compression
import LanguageModel
import OuterSync
import PeerNet
import Swarm
import Testing

@testable import NodeService

@Suite struct ConfigurationTests {
    private static let peer = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"

    @Test func `lengths of time are read and points in time written`() throws {
        #expect(try ["45s", "30m", "12h", "7d"].map(WallTime.seconds) == [45, 1_800, 43_200, 604_800])
        for text in ["", "7", "d", "0d", "-1h", "7w", "99999999999999999999s", "999999999999999999d"] {
            #expect(throws: UserError.self) { try WallTime.seconds(text) }
        }
        #expect(WallTime.text(1_800_000_000) == "2027-01-15 08:00 UTC")
    }

    @Test func `a configuration reads back what it wrote`() throws {
        var configuration = NodeConfiguration(
            listen: "/ip4/127.0.0.1/tcp/0", privateNetwork: "network.key", threads: 3,
            domains: [
                .init(name: "notes", globs: ["/home/me/**/*.txt", "a \"quoted\" \\ path"], weight: 2.5),
                .init(name: "code", globs: ["/usr/include/*.h"]),
            ],
            upload: BitRate("20Mbit/s"), download: BitRate(bytesPerSecond: 1_234_567))
        #expect(configuration.upload?.bytesPerSecond == 2_500_000)
        #expect(try NodeConfiguration.parse(configuration.yaml(), name: "config.yaml") == configuration)
        configuration.serve = BitRate("12.5 Mbit/s")
        configuration.servePerPeer = BitRate("3 Mbit/s")
        #expect(try NodeConfiguration.parse(configuration.yaml(), name: "config.yaml") == configuration)
        let empty = NodeConfiguration()
        #expect(try NodeConfiguration.parse(empty.yaml(), name: "config.yaml") == empty)
        #expect(try NodeConfiguration.parse("", name: "config.yaml") == empty)
    }

    @Test(arguments: [
        ("thread: 3", "unknown key 'thread'"), ("threads: many", "'threads'"), ("threads: -1", "'threads'"),
        ("- a\n- b", "expected keys and values"), ("domains: [{globs: [a]}]", "needs a 'name'"),
        ("domains: [{name: a}]", "needs 'globs'"), ("domains: [{name: a, globs: [b], wait: 2}]", "unknown key 'wait'"),
        ("domains: [{name: a, globs: [b]}, {name: a, globs: [c]}]", "same name"), ("threads: [", "config.yaml"),
        ("threads: 1\nthreads: 2", "config.yaml"), ("upload: 20", "'upload'"), ("download: 20 Mb/s", "'download'"),
        ("upload: 1 kbit/s", "64 kbit/s"), ("upload: -1 Mbit/s", "'upload'"), ("upload: [1 Mbit/s]", "'upload'"),
        ("serve: 0", "'serve'"),
    ])
    func `a mistake in a configuration is named`(text: String, expected: String) throws {
        let problem = #expect(throws: YAMLProblem.self) { try NodeConfiguration.parse(text, name: "config.yaml") }
        #expect(problem?.description.contains(expected) == true, "\(problem?.description ?? "")")
    }

    @Test func `a specification reads back what it wrote and its charter keeps the numbers`() throws {
        #expect(try SwarmSpecification.parse("sync: {codec: 'topk:64'}", name: "a").encoding.feedback == 0.95)
        var specification = SwarmSpecification()
        specification.weighting = .tokens
        specification.encoding.residualStaysLive = true
        specification.model = .micro
        specification.seed = 9
        specification.tokenBudget = 123_456
        specification.blendAlpha = 0.5
        specification.outerLearningRate = 0.4
        specification.warmupTokens = 77
        #expect(
            try SwarmSpecification.parse(specification.yaml(modelName: "micro"), name: "spec.yaml") == specification)
        for admission in [.invite, .allowList([try PeerID(Self.peer)])] as [Charter.Admission] {
            specification.admission = admission
            #expect(
                try SwarmSpecification.parse(specification.yaml(modelName: "micro"), name: "spec.yaml") == specification
            )
        }
        specification.syncMode = .fullOverlap
        specification.blendAlpha = nil
        specification.penalty = .excess
        specification.momentumClip = 2
        specification.exchange = .gather
        #expect(
            try SwarmSpecification.parse(specification.yaml(modelName: "micro"), name: "spec.yaml") == specification)
        for (text, words) in [
            ("sync: {mode: late}", "windowed, full-overlap or eager"),
            ("sync: {exchange: both}", "scatter, gather or auto"),
            ("outer: {penalty: some}", "none, gap or excess"), ("outer: {momentum_clip: -1}", "momentum_clip"),
            ("admission: closed", "open, allow-list or invite"), ("admission: allow-list", "needs 'allow'"),
            ("admission: allow-list\nallow: [me]", "'me'"),
            ("admission: invite\nallow: [\(Self.peer)]", "allow-list' only"),
            ("allow: [\(Self.peer)]", "allow-list' only"),
        ] {
            let problem = #expect(throws: YAMLProblem.self) { try SwarmSpecification.parse(text, name: "spec.yaml") }
            #expect(problem?.description.contains(words) == true, "\(problem?.description ?? "")")
        }
        #expect(throws: YAMLProblem.self) { try SwarmSpecification.parse("model: huge", name: "spec.yaml") }
        #expect(throws: YAMLProblem.self) { try SwarmSpecification.parse("token_budged: 3", name: "spec.yaml") }
    }

    @Test func `a specification says whether and among what members choose codecs`() throws {
        func ladder(_ sync: String) throws -> [Codec] {
            try SwarmSpecification.parse("sync: {\(sync)}", name: "spec.yaml").encoding.ladder
        }
        let standard: [Codec] = [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)]
        #expect(try ladder("overlap_steps: 2") == [])
        #expect(try ladder("feedback: 1") == standard)
        #expect(try ladder("feedback: 1, negotiate: false") == [])
        #expect(try ladder("feedback: 1, codec: statistical:2") == Array(standard.dropFirst()))
        #expect(try ladder("feedback: 1, codecs: [\"topk:128\"]") == [.topK(kept: 128)])
        for (sync, words) in [
            ("negotiate: true", "needs 'feedback'"), ("negotiate: maybe", "true or false"),
            ("codecs: [e3m0]", "needs 'negotiate: true'"), ("feedback: 1, codecs: [zip]", "'zip'"),
        ] {
            let problem = #expect(throws: YAMLProblem.self) { try ladder(sync) }
            #expect(problem?.description.contains(words) == true, "\(problem?.description ?? "")")
        }
        var specification = SwarmSpecification()
        specification.model = .micro
        specification.encoding = PayloadEncoding(
            contribution: .uniform(bits: 4), result: .e3m0, feedback: 0.5, residualStaysLive: true,
            ladder: [.topK(kept: 32)], ownerFeedback: 0.25)
        #expect(
            try SwarmSpecification.parse(specification.yaml(modelName: "micro"), name: "spec.yaml") == specification)
    }

    @Test func `owners keep what encoding leaves over where results may be coarse`() throws {
        func decay(_ sync: String) throws -> Float {
            try SwarmSpecification.parse("sync: {\(sync)}", name: "spec.yaml").encoding.ownerFeedback
        }
        #expect(try decay("overlap_steps: 2") == 0)
        #expect(try decay("feedback: 0.9") == 0.9)
        #expect(try decay("feedback: 0.9, negotiate: false") == 0)
        #expect(try decay("feedback: 0.9, owner_feedback: false") == 0)
        #expect(try decay("owner_feedback: true") == 1)
        #expect(try decay("feedback: 0.9, owner_feedback: true") == 0.9)
        #expect(try decay("owner_feedback: 0.5") == 0.5)
        #expect(throws: YAMLProblem.self) { try decay("owner_feedback: 1.5") }
        #expect(throws: YAMLProblem.self) { try decay("owner_feedback: nan") }
    }

    @Test func `a list of links reads back what it wrote`() throws {
        let peer = try PeerID(Self.peer)
        let statuses = [
            LinkStatus(
                peer: peer, sentKilobits: 5_100, receivedKilobits: 0, roundTrip: .milliseconds(12),
                table: .init(version: 3, codecs: [.statistical(bits: 2), .e3m0]),
                theirTable: .init(version: 1, codecs: [.uniform(bits: 4), .topK(kept: 64)]), round: RoundIndex(7),
                predictedBytes: 70_000, realBytes: 65_432)
        ]
        let report = LinkTableReport(statuses)
        #expect(LinkTableReport(json: report.json)?.links == report.links)
        #expect(report.links[0].table == "3 statistical:2" && report.links[0].theirTable == "1 mixed")
        #expect(report.text.contains("5.1 Mbit/s") && report.text.contains("12.0 ms"))
    }

    @Test func `a specification's mode and exchange decide what it leaves out`() throws {
        let founder = try PeerID(Self.peer)
        func charter(_ text: String) throws -> Charter {
            try SwarmSpecification.parse(text, name: "spec.yaml")
                .charter(founder: founder, tokenizer: Digest(hashing: [1]))
        }
        let windowed = try charter("name: a")
        #expect(windowed.syncMode == .windowed && windowed.overlapSteps == 2 && windowed.gatherMembersMax == 0)
        let full = try charter("sync: {mode: full-overlap}")
        #expect(full.syncMode == .fullOverlap && full.overlapSteps == 0 && full.blendAlpha == 0)
        #expect(full.outer.learningRate < 1 - full.outer.momentum)
        let eager = try charter("sync: {mode: eager}\nouter: {learning_rate: 0.3}")
        #expect(eager.syncMode == .eager && eager.outer.learningRate == 0.3 && eager.overlapSteps == 0)
        #expect(try charter("sync: {codec: 'topk:64'}").gatherMembersMax == 18)
        #expect(try charter("sync: {codec: 'topk:64', exchange: scatter}").gatherMembersMax == 0)
        #expect(try charter("sync: {exchange: gather}").gatherMembersMax == Limits.roundMembersMax)
    }

    @Test func `domain options add up by name and bad ones are refused`() throws {
        let domains = try NodeHome.parseDomains(["a=x/*", "b=y", "a=z=1"])
        #expect(domains == [.init(name: "a", globs: ["x/*", "z=1"]), .init(name: "b", globs: ["y"])])
        for option in ["", "=", "a", "a=", "=b"] {
            #expect(throws: UserError.self) { try NodeHome.parseDomains([option]) }
        }
    }
}
