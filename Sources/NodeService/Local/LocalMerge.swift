import Experts
package import JSONText

/// `atoll merge`: the weighted average of checkpoints.
package enum LocalMerge {
    /// What came of it.
    package struct Report: CommandReport {
        /// The checkpoints and their shares, which sum to 1.
        package var inputs: [(path: String, share: Double)]
        /// The merged checkpoint.
        package var out: String

        package var text: String {
            inputs.map { "\(fixed($0.share, 4))  \($0.path)" }.joined(separator: "\n") + "\nmerged into \(out)"
        }

        package var json: JSONValue {
            [
                "inputs": .array(inputs.map { ["path": .text($0.path), "weight": .number($0.share)] }),
                "out": .text(out),
            ]
        }
    }

    /// Merges the checkpoints at `paths`; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter weights: numbers with commas between them; nil for equal shares.
    package static func run(_ paths: [String], weights: String?, out: String, dtype: String) throws(UserError) -> Report
    {
        let storage = try tensorStorage(dtype: dtype)
        let numbers = try weights.map { text throws(UserError) in try parse(text) }
        Interruption.catchSignals()
        do {
            let average = try WeightedAverage(of: paths, weights: numbers)
            try average.write(to: out, storage: storage, isCancelled: { Interruption.isRequested })
            return Report(inputs: Array(zip(paths, average.shares)).map { (path: $0.0, share: $0.1) }, out: out)
        } catch { throw UserError(merge: error) }
    }

    private static func parse(_ text: String) throws(UserError) -> [Double] {
        var numbers: [Double] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let number = Double(part) else {
                throw UserError(
                    "--weights \(text): \"\(part)\" is not a number",
                    cure: "Write numbers with commas, such as 0.7,0.3",
                    exitCode: .usage)
            }
            numbers.append(number)
        }
        return numbers
    }
}
