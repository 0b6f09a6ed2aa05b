import Checkpoint
package import Numerics

/// The values of a method's parameters for one tensor; what is not set is its rule's standard value.
package struct MergeParameters: Hashable, Sendable {
    private var values: [MergeParameter: Double] = [:]

    /// Nothing is set.
    package init() {}

    /// Some values.
    package init(_ values: [MergeParameter: Double]) { self.values = values }

    /// A parameter's value; nil where it is not set.
    package subscript(_ parameter: MergeParameter) -> Double? {
        get { values[parameter] }
        set { values[parameter] = newValue }
    }
}

/// The merge of one tensor: what goes in, and by which method.
package struct TensorMerge: Sendable {
    /// The method.
    package var method: MergeMethod
    /// The name of the resulting tensor, which keys the random masks together with seed and input.
    package var name: String
    /// Its shape, which is also that of every input.
    package var shape: [Int]
    /// The inputs, the base among them, in the order of the recipe.
    package var inputs: [any TensorReading]
    /// The position of the base in `inputs`; nil for none.
    package var base: Int?
    /// Parameters that the inputs share.
    package var shared = MergeParameters()
    /// Per input its own parameters; the base's are not used.
    package var perInput: [MergeParameters]
    /// Of the random masks; equal seeds give equal results, whatever the number of threads.
    package var seed: UInt64

    /// Names a merge.
    ///
    /// - Precondition: every input has the shape; `perInput` is as long as `inputs`; the numbers of inputs, the base and the
    ///   parameters are within the rules of the method.
    package init(
        _ method: MergeMethod, name: String, shape: [Int], inputs: [any TensorReading], base: Int?,
        shared: MergeParameters = MergeParameters(), perInput: [MergeParameters]? = nil, seed: UInt64 = 0
    ) {
        self.method = method
        self.name = name
        self.shape = shape
        self.inputs = inputs
        self.base = base
        self.shared = shared
        self.perInput = perInput ?? inputs.map { _ in MergeParameters() }
        self.seed = seed
        precondition(self.perInput.count == inputs.count, "every input has its parameters")
        precondition(base.map { inputs.indices.contains($0) } ?? true, "the base is one of the inputs")
        precondition(inputs.allSatisfy { $0.shape == shape }, "every input has the shape of the result")
    }

    /// Computes the values and hands them over in ascending order.
    ///
    /// - Parameters:
    ///   - pool: its threads read, compute and convert; the values do not depend on their number.
    ///   - isCancelled: asked between pieces.
    ///   - output: takes the next values; called from one thread at a time, not always the caller's.
    /// - Throws: what reading throws, `MergeError.weightsSumToZero` where a sum of weights has to divide, and what `output`
    ///   throws.
    /// - Complexity: memory for some pieces of 2^14 values (whole rows for methods that work by rows) for each input and
    ///   thread; one to four readings of every input.
    package func run(
        _ pool: WorkerPool, isCancelled: @escaping () -> Bool = { false },
        _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let pass = TensorPass(self, pool, isCancelled: isCancelled)
        switch method {
        case .linear: try LinearMerge(self).run(pass, output)
        case .slerp, .multislerp, .karcher: try SphericalMerge(self).run(pass, output)
        case .nuslerp: try NuSLERPMerge(self).run(pass, output)
        case .modelStock: try ModelStockMerge(self).run(pass, output)
        case .taskArithmetic, .ties, .dareLinear, .dareTies, .breadcrumbs, .breadcrumbsTies, .della, .dellaLinear:
            try TaskVectorMerge(self).run(pass, output)
        case .nearswap: try NearswapMerge(self).run(pass, output)
        case .sce: try SCEMerge(self).run(pass, output)
        case .ram, .ramPlus: try RAMMerge(self).run(pass, output)
        case .arceeFusion: try ArceeFusionMerge(self).run(pass, output)
        case .passthrough: try PassthroughMerge(self).run(pass, output)
        }
    }

    /// Computes the values for a checkpoint that is written to `path`.
    ///
    /// - Parameter take: takes the next values, as `ModelFolder.write` wants them.
    func write(
        _ pool: WorkerPool, path: String, isCancelled: @escaping () -> Bool,
        _ take: (UnsafeBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws(CheckpointError) {
        do throws(MergeError) {
            try run(pool, isCancelled: isCancelled) { (values) throws(MergeError) in
                do throws(CheckpointError) { try take(values) } catch { throw .checkpoint(error) }
            }
        } catch {
            switch error {
            case .checkpoint(let error): throw error
            case .cancelled: throw .cancelled(path: path)
            default: throw .unsupported(path: path, reason: error.description)
            }
        }
    }

    /// A shared parameter.
    func value(_ parameter: MergeParameter) -> Double { value(parameter, in: shared) }

    /// A shared parameter that is true or false.
    func isSet(_ parameter: MergeParameter) -> Bool { value(parameter) != 0 }

    /// An input's parameter; what it does not set may be set for all.
    func value(_ parameter: MergeParameter, of input: Int) -> Double {
        perInput[input][parameter] ?? value(parameter, in: shared)
    }

    private func value(_ parameter: MergeParameter, in parameters: MergeParameters) -> Double {
        if let value = parameters[parameter] { return value }
        guard let rule = method.rules.first(where: { $0.parameter == parameter }), let standard = rule.standard else {
            preconditionFailure("\(method.rawValue) needs the parameter \(parameter.rawValue)")
        }
        return standard
    }

    /// The inputs but the base, in order.
    var others: [Int] { inputs.indices.filter { $0 != base } }
}
