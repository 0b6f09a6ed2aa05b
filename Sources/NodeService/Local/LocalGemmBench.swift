package import JSONText
package import LanguageModel
import Numerics
import PeerNet

/// `atoll bench gemm`: the trainer's matrix products beside the machine's peak.
package enum LocalGemmBench {
    /// What came of it.
    package struct Report: CommandReport {
        /// The preset whose shapes were measured.
        package var size: String
        /// Threads used.
        package var threadCount: Int
        /// One per precision.
        package var precisions: [GemmBench.Report]

        package var text: String {
            precisions.map { bench in
                let library = bench.precision == .float32 ? "OpenBLAS" : "oneDNN"
                let head =
                    "\(size), \(bench.precision.rawValue), \(threadCount) threads; peak "
                    + "\(fixed(bench.peakGigaflops, 0)) GFLOP/s (\(library), n 1024 and 2048)"
                let lines = bench.rows.map { row in
                    let shape = "\(row.rows) x \(row.columns) x \(row.depth)"
                    return Self.padded(row.name, 26) + Self.padded(shape, 20)
                        + "\(fixed(row.gigaflops, 0)) GFLOP/s  \(fixed(100 * row.shareOfPeak, 0)) % of the peak"
                }
                return ([head] + lines).joined(separator: "\n")
            }.joined(separator: "\n\n")
        }

        package var json: JSONValue {
            [
                "size": .text(size), "threads": .integer(Int64(threadCount)),
                "precisions": .array(
                    precisions.map { bench in
                        [
                            "dtype": .text(bench.precision.rawValue), "peak_gigaflops": .number(bench.peakGigaflops),
                            "products": .array(
                                bench.rows.map { row in
                                    [
                                        "name": .text(row.name), "rows": .integer(Int64(row.rows)),
                                        "columns": .integer(Int64(row.columns)), "depth": .integer(Int64(row.depth)),
                                        "gigaflops": .number(row.gigaflops),
                                        "share_of_peak": .number(row.shareOfPeak),
                                    ]
                                }),
                        ]
                    }),
            ]
        }

        private static func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
    }

    /// Measures every precision that this processor has instructions for.
    package static func run(size: String, threads: Int?) throws(UserError) -> Report {
        guard let model = ModelConfiguration.preset(named: size) else {
            let names = ModelConfiguration.presets.map(\.name).joined(separator: ", ")
            throw UserError("there is no preset '\(size)'", cure: "Choose one of \(names)", exitCode: .usage)
        }
        let threads = try threadCount(threads)
        let clock = ContinuousClock()
        let start = clock.now
        func now() -> Double { (clock.now - start).inSeconds }
        let precisions: [Precision] = InstructionSet.best.hasBFloat16 ? [.float32, .bfloat16] : [.float32]
        return Report(
            size: size, threadCount: threads,
            precisions: precisions.compactMap {
                GemmBench.run(model, precision: $0, threadCount: threads, secondsPerRound: 0.05, now: now)
            })
    }
}
