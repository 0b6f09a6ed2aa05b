/// What the demo does.
package struct DemoPlan: Sendable {
    /// 750 steps of 8 x 128 tokens on each of four nodes.
    package static let standardTokens = nodeCount * 750 * stepTokens
    /// Nodes at the end; three from the start.
    static let nodeCount = 4
    /// Tokens of one inner step of one node.
    static let stepTokens = 8 * 128

    /// Where everything goes.
    package var outputPath: String
    /// The swarm's token budget.
    package var tokens: Int
    /// The swarm's seed.
    package var seed: UInt64
    /// Whether one node is killed half-way.
    package var kills: Bool
    /// Whether one node alone is trained for the same steps, as a lower bound.
    package var trainsAlone: Bool

    /// Wraps the fields.
    package init(outputPath: String, tokens: Int, seed: UInt64, kills: Bool, trainsAlone: Bool) {
        self.outputPath = outputPath
        self.tokens = tokens
        self.seed = seed
        self.kills = kills
        self.trainsAlone = trainsAlone
    }

    /// The swarm's specification: nano, with the default inner rate and overlap. 750 steps are few: rounds twice as
    /// often as the default, and a higher outer rate, come closest to one process (docs/learning.md).
    var specification: SwarmSpecification {
        var specification = SwarmSpecification()
        specification.name = "demo"
        specification.seed = seed
        specification.tokenBudget = UInt64(tokens)
        specification.warmupTokens = UInt64(tokens / 20)
        specification.innerStepsPerRound = 15
        specification.outerLearningRate = 0.9
        return specification
    }

    /// Share of the budget after which the fourth node joins.
    var lateJoinShare: Double { 1.0 / 3 }
    /// Share of the budget after which one node is killed.
    var killShare: Double { 0.5 }
    /// Steps of each of four `atoll train` processes that measure the machine's speed.
    var speedSteps: Int { 100 }
    /// Steps of each expert.
    var expertSteps: Int { 60 }
    /// Held-out windows per domain.
    var heldOutWindows: Int { 96 }
    /// Seconds that a killed node stays away.
    var awaySeconds: Double { 3 }
    /// Seconds after which the swarm has failed.
    var swarmSecondsMax: Double { 900 + Double(tokens) / 1000 }
}
