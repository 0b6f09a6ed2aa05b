import Compression
package import JSONText
import Swarm

/// `atoll bench blob`: a large blob from three givers of which one is killed and one lies, and the caps of a giver.
package enum LocalBlobBench {
    /// What came of it.
    package struct Report: CommandReport {
        /// Bytes of the blob.
        package var byteCount: Int
        var outcome: BlobTrial.Outcome
        var caps: [Cap]

        /// How well a cap was met.
        struct Cap: Sendable {
            var name: String
            /// Bytes per second.
            var cap: Double
            var measured: Double
            /// The greatest deviation, as a fraction.
            var error: Double
            /// The smallest and the greatest share of a taker, where they are to be equal.
            var shares: [Double]
        }

        package var text: String {
            let rate = fixed(Double(byteCount) / outcome.seconds / 1e6, 1)
            var lines = [
                "blob                \(byteCount >> 20) MiB, \(BlobTree.chunkCount(of: byteCount)) chunks",
                "completed           \(outcome.isVerified ? "yes, every byte is right" : "NO")",
                "time                \(fixed(outcome.seconds, 2)) s, \(rate) MB/s",
                "whole chunks from   faithful \(outcome.chunks[0]), killed \(outcome.chunks[1]), "
                    + "liar \(outcome.chunks[2])",
                "named as liars      \(outcome.isLiarNamed ? "the liar" : "NOT THE LIAR")"
                    + (outcome.isHonestNamed ? " AND HONEST ONES" : ""),
                "fetched twice       \(outcome.fetchedTwice) chunks from honest givers",
                "memory              grew by \(outcome.memoryGrowth >> 20) MiB, givers included",
            ]
            for cap in caps {
                let shares = cap.shares.map { fixed(100 * $0, 1) }.joined(separator: " ")
                lines.append(
                    "\(cap.name)  \(fixed(cap.cap / 1e6, 2)) MB/s: measured \(fixed(cap.measured / 1e6, 3)), error "
                        + "\(fixed(100 * cap.error, 2)) %, shares \(shares) %")
            }
            return lines.joined(separator: "\n")
        }

        package var json: JSONValue {
            [
                "bytes": .integer(Int64(byteCount)), "verified": .bool(outcome.isVerified),
                "seconds": .number(outcome.seconds),
                "bytes_per_second": .number(Double(byteCount) / outcome.seconds),
                "chunks_by_giver": .array(outcome.chunks.map { .integer(Int64($0)) }),
                "liar_named": .bool(outcome.isLiarNamed), "honest_named": .bool(outcome.isHonestNamed),
                "chunks_fetched_twice": .integer(Int64(outcome.fetchedTwice)),
                "memory_growth_bytes": .integer(Int64(outcome.memoryGrowth)),
                "caps": .array(
                    caps.map { cap in
                        [
                            "name": .string(JSONString(cap.name.filter { $0 != " " })),
                            "bytes_per_second": .number(cap.cap), "measured": .number(cap.measured),
                            "error": .number(cap.error), "shares": .array(cap.shares.map { .number($0) }),
                        ]
                    }),
            ]
        }
    }

    private static let takers = 3

    /// Fetches, then measures the caps; some twenty seconds and twice the blob's size on disk.
    package static func run(mebibytes: Int, progress: (String) -> Void) async throws(UserError) -> Report {
        guard (8...2_000).contains(mebibytes) else {
            throw UserError("--mib takes 8 to 2000", cure: "Choose a size in that range", exitCode: .usage)
        }
        Interruption.catchSignals()
        do {
            let byteCount = mebibytes << 20
            progress("making a blob of \(mebibytes) MiB")
            let trial = try BlobTrial(byteCount: byteCount, isCancelled: { Interruption.isRequested })
            progress("fetching it from three givers")
            let outcome = try await trial.fetchFromThree()
            // Slow enough that the blob lasts for the measurement.
            let seconds = 6.0
            let cap = min(24e6, Double(byteCount) / (2 * (seconds + 2)))
            progress("measuring caps")
            let all = try await trial.fetchCapped(.init(bytesPerSecond: cap), takers: takers, seconds: seconds)
            let each = try await trial.fetchCapped(
                .init(bytesPerSecondEach: cap / 3), takers: takers, seconds: seconds)
            let caps = [
                Report.Cap(
                    name: "cap for all       ", cap: cap, measured: all.total, error: abs(all.total / cap - 1),
                    shares: all.rates.map { $0 / all.total }),
                Report.Cap(
                    name: "cap for each taker", cap: cap / 3, measured: each.total / Double(takers),
                    error: each.rates.map { abs($0 / (cap / 3) - 1) }.max() ?? 1,
                    shares: each.rates.map { $0 / each.total }),
            ]
            return Report(byteCount: byteCount, outcome: outcome, caps: caps)
        } catch {
            throw UserError(wrapping: error)
        }
    }
}
