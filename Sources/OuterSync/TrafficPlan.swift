/// What a swarm of equal members will send and how long it will take, from sizes that are known before it starts.
///
/// One cycle is H inner steps, in which every fragment has one round. A member sends its contribution to the owners of the
/// tiles that it does not own itself, and its own tiles' means to everybody: (M - 1) / M of a fragment's payload each way,
/// up and down alike. Where contributions are gathered, each goes to everybody: (M - 1) payloads up and down.
package struct TrafficPlan: Hashable, Sendable {
    /// One fragment's payloads in bytes, packed, with all tiles.
    package struct FragmentPayload: Hashable, Sendable {
        /// One member's contribution.
        package var contribution: Double
        /// The mean.
        package var result: Double

        /// Wraps the two.
        package init(contribution: Double, result: Double) {
            self.contribution = contribution
            self.result = result
        }
    }

    /// The fragments.
    package var fragments: [FragmentPayload]
    /// Members (M).
    package var members: Int
    /// H.
    package var innerSteps: Int
    /// tau: steps beside which an exchange is hidden.
    package var overlapSteps: Int
    /// Time of one inner step.
    package var stepSeconds: Double
    /// Tokens of one inner step of one member.
    package var tokensPerStep: Int
    /// The swarm's token budget.
    package var tokenBudget: Double
    /// Control messages and framing that a member sends in one round of one fragment, in bytes.
    package var controlBytesPerRound: Double
    /// Whether everybody fetches every contribution and there is no mean to be sent.
    package var gathers = false

    /// Wraps the fields.
    package init(
        fragments: [FragmentPayload], members: Int, innerSteps: Int, overlapSteps: Int, stepSeconds: Double,
        tokensPerStep: Int, tokenBudget: Double, controlBytesPerRound: Double
    ) {
        precondition(
            !fragments.isEmpty && members >= 1 && innerSteps >= 1 && stepSeconds > 0 && tokensPerStep >= 1,
            "a plan needs a swarm that trains")
        self.fragments = fragments
        self.members = members
        self.innerSteps = innerSteps
        self.overlapSteps = overlapSteps
        self.stepSeconds = stepSeconds
        self.tokensPerStep = tokensPerStep
        self.tokenBudget = tokenBudget
        self.controlBytesPerRound = controlBytesPerRound
    }

    /// The share of payloads that leaves a member, and that reaches it.
    private var exchanged: Double { Double(members - 1) / Double(members) }

    /// Bytes that a member sends in a fragment's round; it receives as many.
    package func bytes(ofRound fragment: FragmentPayload) -> Double {
        let payloads =
            gathers
            ? Double(members - 1) * fragment.contribution : exchanged * (fragment.contribution + fragment.result)
        return payloads + (members > 1 ? controlBytesPerRound : 0)
    }

    /// Bytes that a member sends in a cycle of H steps.
    package var bytesPerCycle: Double { fragments.reduce(0) { $0 + bytes(ofRound: $1) } }
    /// Seconds of a cycle in which nothing waits.
    package var cycleSeconds: Double { Double(innerSteps) * stepSeconds }
    /// Cycles until the token budget is used.
    package var cycleCount: Double {
        (tokenBudget / Double(members * innerSteps * tokensPerStep)).rounded(.up)
    }
    /// Bytes that a member sends until the token budget is used.
    package var totalBytes: Double { cycleCount * bytesPerCycle }
    /// What a float32 all-reduce (ring) at every step would have it send.
    package func dataParallelBytes(parameterCount: Int) -> Double {
        2 * exchanged * 4 * Double(parameterCount) * cycleCount * Double(innerSteps)
    }

    /// The share of time that goes into training if each exchange must end tau steps after its snapshot, as in Streaming
    /// DiLoCo: H t / (H t + sum of exposed times), an exposed time being what a fragment's exchange takes beyond tau steps.
    ///
    /// Atoll's nodes do not wait: there a lower share is rounds that come later, not idle processors.
    /// - Parameters:
    ///   - bytesPerSecond: of the slower direction of a member's link.
    ///   - roundTrip: seconds added to each exchange.
    /// - SeeAlso: Douillard et al., Streaming DiLoCo (arXiv:2501.18512), table 4.
    package func utilization(bytesPerSecond: Double, roundTrip: Double = 0) -> Double {
        let exposed = fragments.reduce(0.0) { sum, fragment in
            let seconds = bytes(ofRound: fragment) / bytesPerSecond + roundTrip
            return sum + max(0, seconds - Double(overlapSteps) * stepSeconds)
        }
        return cycleSeconds / (cycleSeconds + exposed)
    }

    /// The least rate, in bytes per second, at which utilization is at least `target`; 0 for a swarm of one.
    package func leastRate(forUtilization target: Double, roundTrip: Double = 0) -> Double {
        precondition(target > 0 && target < 1, "a utilization is a share")
        guard bytesPerCycle > 0 else { return 0 }
        var (low, high) = (0.0, 1.0)
        while utilization(bytesPerSecond: high, roundTrip: roundTrip) < target, high < 1e15 { high *= 2 }
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if utilization(bytesPerSecond: middle, roundTrip: roundTrip) < target {
                low = middle
            } else {
                high = middle
            }
        }
        return high
    }
}
