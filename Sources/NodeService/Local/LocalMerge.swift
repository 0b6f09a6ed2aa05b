import Checkpoint
import Experts
import Glibc
package import JSONText

/// `atoll merge`: checkpoints become one, by equal or given weights, or by a recipe.
package enum LocalMerge {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Checkpoint folders to average, or one recipe file.
        package var inputs: [String]
        /// Numbers with commas between them; nil for equal shares. Not with a recipe, which has its own.
        package var weights: String?
        /// The new folder.
        package var out: String
        /// Seed of the methods that draw random numbers.
        package var seed: UInt64
        /// Element type; nil for float32, or for what a recipe says.
        package var dtype: String?
        /// Most bytes in one file; nil for the usual.
        package var shardSize: String?

        /// Wraps the fields.
        package init(
            inputs: [String], weights: String? = nil, out: String, seed: UInt64 = 0, dtype: String? = nil,
            shardSize: String? = nil
        ) {
            self.inputs = inputs
            self.weights = weights
            self.out = out
            self.seed = seed
            self.dtype = dtype
            self.shardSize = shardSize
        }
    }

    /// What came of an average.
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

    /// Merges; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter progress: gets a line about once a second.
    package static func run(
        _ request: Request, progress: @escaping (String) -> Void
    ) throws(UserError) -> any CommandReport {
        let recipes = request.inputs.filter(isFile)
        guard recipes.isEmpty || request.inputs.count == 1 else {
            throw UserError(
                "\(recipes[0]) is a file among \(request.inputs.count) arguments",
                cure: "Name one recipe file, or checkpoint folders", exitCode: .usage)
        }
        guard let recipe = recipes.first else { return try average(request) }
        guard request.weights == nil else {
            throw UserError(
                "--weights is given with a recipe", cure: "Write the weights into the recipe", exitCode: .usage)
        }
        return try RecipeMerge.run(recipe, request, progress: progress)
    }

    private static func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFDIR
    }

    private static func average(_ request: Request) throws(UserError) -> Report {
        let storage = try tensorStorage(dtype: request.dtype ?? "float32", shardSize: request.shardSize)
        let numbers = try request.weights.map { text throws(UserError) in try parse(text) }
        Interruption.catchSignals()
        do {
            let average = try WeightedAverage(of: request.inputs, weights: numbers)
            try average.write(to: request.out, storage: storage, isCancelled: { Interruption.isRequested })
            return Report(
                inputs: Array(zip(request.inputs, average.shares)).map { (path: $0.0, share: $0.1) }, out: request.out)
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
