/// What a link carries, in kbit/s; 0: not known.
package struct LinkRates: Hashable, Sendable {
    /// From the node.
    package var up: UInt32
    /// To the node.
    package var down: UInt32

    /// Wraps the two.
    package init(up: UInt32 = 0, down: UInt32 = 0) {
        self.up = up
        self.down = down
    }
}

/// Which of the charter's result codecs a round has: a pure function of its roster, so that every member finds the same.
///
/// A result has to reach a member within the slot of its fragment, H / P steps at the members' median pace: then it holds
/// the next base in time. The level is the finest that is enough for the slowest member that counts:
/// - a link that cannot carry the coarsest level in time is given up; it takes part when it has caught up;
/// - of n members the n / 8 slowest are not waited for, so in a larger swarm a few liars coarsen nothing;
/// - a member that has measured nothing asks for nothing.
/// The median pace is in nobody's hand either. Whoever does lie gets no more than the coarsest codec of the charter.
enum ResultLevel {
    /// Of the slot, what the transfer may take; the rest is for messages, other fragments and errors of measurement.
    private static let slotShare: (numerator: UInt64, denominator: UInt64) = (3, 4)

    /// The level after one of `last`: a round is at most one level finer than the one before, and no finer while a member
    /// of that one is missing. It may be the slow one, which could never catch up with finer results.
    static func following(_ last: Int, needed: Int, isComplete: Bool) -> Int {
        max(needed, isComplete ? last - 1 : last)
    }

    static func level(
        joins: [Join], byteCounts: [Int], innerStepsPerRound: Int, fragmentCount: Int
    ) -> Int {
        guard byteCounts.count > 1, !joins.isEmpty else { return 0 }
        let paces = joins.filter(\.contributes).map { UInt64($0.millistepsPerSecond) }.filter { $0 > 0 }.sorted()
        guard !paces.isEmpty else { return 0 }
        let pace = paces[(paces.count - 1) / 2]
        // Steps 10^6 / (millisteps/s) is milliseconds; H is at most 10^6.
        let slot = UInt64(innerStepsPerRound) * 1_000_000 / (pace * UInt64(max(1, fragmentCount)))
        let limit = slot * slotShare.numerator / slotShare.denominator
        var needs: [Int] = []
        for join in joins where join.rates.down > 0 {
            // kbit/s times milliseconds is bits.
            let (bits, overflow) = limit.multipliedReportingOverflow(by: UInt64(join.rates.down))
            let level = byteCounts.firstIndex { overflow || UInt64($0) * 8 <= bits }
            if let level { needs.append(level) }
        }
        needs.sort(by: >)
        return needs.dropFirst(joins.count / 8).first ?? 0
    }
}
