/// How many tokens a commit counts: what learning rates and the end of training follow, so no claim of one member may rush
/// them. A pure function of commit and charter.
enum CommittedTokens {
    /// A contributor counts for at most so many times the commit's lower median.
    static let medianFactor: UInt64 = 16
    /// A contributor counts for at most so many rounds of inner steps: whoever was left out for longer than two rounds has
    /// begun anew, and the rest is for rounds that take their time.
    private static let roundsMax: UInt64 = 16

    /// The most tokens that one contribution can count for under a charter.
    static func most(_ charter: Charter) -> UInt64 {
        // At most 16 x 10^6 x 2^24: below 2^48.
        let batch = UInt64(charter.inner.batchSequences) * UInt64(charter.model.contextLength)
        return roundsMax * UInt64(charter.innerStepsPerRound) * batch
    }

    /// What the contributors' claims count for together.
    static func counted(_ claims: [UInt64], most: UInt64) -> UInt64 {
        guard !claims.isEmpty else { return 0 }
        let median = claims.sorted()[(claims.count - 1) / 2]
        let limit = min(most, median.multipliedReportingOverflow(by: medianFactor).partialValue)
        return claims.reduce(0) { $0 + min($1, limit) }
    }
}
