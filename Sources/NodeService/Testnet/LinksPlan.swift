import Compression
import LanguageModel
import OuterSync
import Swarm

/// What the comparison of links does.
package struct LinksPlan: Sendable {
    /// Where everything goes.
    package var outputPath: String
    /// Seconds that are measured of each swarm.
    package var seconds: Int
    /// The swarms' seed.
    package var seed: UInt64
    /// The model's preset.
    package var model: String

    /// Wraps the fields.
    package init(outputPath: String, seconds: Int, seed: UInt64, model: String) {
        self.outputPath = outputPath
        self.seconds = seconds
        self.seed = seed
        self.model = model
    }

    /// The links of the mixed swarm, both ways; the founder has the first.
    static let mixedRates = ["20 Mbit/s", "5 Mbit/s", "1 Mbit/s", "200 kbit/s"]
    static let fastRates = ["20 Mbit/s", "20 Mbit/s", "20 Mbit/s", "20 Mbit/s"]
    static let nodeCount = 4
    /// How many times H the slowest link would need for uniform four bits. The next one, five times as fast, needs more
    /// than twice H then: without negotiation two of the four cannot keep up.
    static let slowness = 12.0
    /// Steps of each of four `atoll train` processes that measure the machine's speed.
    static let speedSteps = 80
    /// Seconds between the start with limited links and the measurement.
    static let settlingSeconds = 20.0

    /// One of the three swarms.
    struct Trial: Sendable {
        var name: String
        var rates: [String]
        var negotiates: Bool
    }

    static let trials = [
        Trial(name: "mixed", rates: mixedRates, negotiates: true),
        Trial(name: "all-fast", rates: fastRates, negotiates: true),
        Trial(name: "off", rates: mixedRates, negotiates: false),
    ]

    /// What a member of a swarm of equals exchanges in H steps with the charter's codec, in bytes per direction.
    func bytesPerCycle(_ configuration: ModelConfiguration) throws -> Double {
        let layout = try FragmentLayout(ParameterLayout(configuration), rule: .stridedThrees)
        let fragments = layout.fragments.map { fragment in
            let bytes = Double(fragment.byteCount(.e3m0))
            return TrafficPlan.FragmentPayload(contribution: bytes, result: bytes)
        }
        return TrafficPlan(
            fragments: fragments, members: Self.nodeCount, innerSteps: 1, overlapSteps: 0, stepSeconds: 1,
            tokensPerStep: 1, tokenBudget: 1, controlBytesPerRound: 0
        ).bytesPerCycle
    }

    func specification(_ swarm: Trial, _ configuration: ModelConfiguration, innerSteps: Int) -> SwarmSpecification {
        var specification = SwarmSpecification()
        specification.name = "links-\(swarm.name)"
        specification.model = configuration
        specification.seed = seed
        specification.tokenBudget = 1 << 40
        specification.warmupTokens = 200_000
        specification.innerStepsPerRound = innerSteps
        specification.encoding.feedback = 1
        specification.encoding.ladder = swarm.negotiates ? SwarmSpecification.coarserCodecs : []
        specification.encoding.ownerFeedback = swarm.negotiates ? 1 : 0
        return specification
    }
}
