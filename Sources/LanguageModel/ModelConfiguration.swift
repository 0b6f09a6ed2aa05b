/// The shape of a Llama-architecture decoder.
package struct ModelConfiguration: Hashable, Sendable {
    /// Token ids are 0 ..< vocabularySize.
    package var vocabularySize: Int
    /// Width of the residual stream (hidden_size).
    package var width: Int
    /// Number of decoder blocks.
    package var layerCount: Int
    /// Query heads per block.
    package var headCount: Int
    /// Key and value heads per block; divides `headCount`.
    package var keyValueHeadCount: Int
    /// Width of one head; even. `headCount * headWidth` need not be `width`.
    package var headWidth: Int
    /// Width of the SwiGLU hidden layer (intermediate_size).
    package var feedForwardWidth: Int
    /// The most tokens that the model attends over.
    package var contextLength: Int
    /// Base of the rotary frequencies.
    package var ropeTheta: Double
    /// How the rotary frequencies are stretched for a longer context; nil for not at all.
    package var ropeScaling: RopeScaling?
    /// Added to the mean square in RMSNorm.
    package var rmsNormEpsilon: Float
    /// The output head is the token embedding.
    package var tiedEmbeddings: Bool

    /// Describes a model; call `validate()` on anything that came from outside.
    package init(
        vocabularySize: Int, width: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int? = nil,
        headWidth: Int? = nil, feedForwardWidth: Int, contextLength: Int, ropeTheta: Double = 10_000,
        ropeScaling: RopeScaling? = nil, rmsNormEpsilon: Float = 1e-5, tiedEmbeddings: Bool = true
    ) {
        self.vocabularySize = vocabularySize
        self.width = width
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount ?? headCount
        self.headWidth = headWidth ?? (headCount > 0 ? width / headCount : 0)
        self.feedForwardWidth = feedForwardWidth
        self.contextLength = contextLength
        self.ropeTheta = ropeTheta
        self.ropeScaling = ropeScaling
        self.rmsNormEpsilon = rmsNormEpsilon
        self.tiedEmbeddings = tiedEmbeddings
    }

    /// 0.8 million parameters: the demo's model.
    package static let nano = ModelConfiguration(
        vocabularySize: 256, width: 128, layerCount: 4, headCount: 4, feedForwardWidth: 352, contextLength: 128)
    /// 2.7 million parameters.
    package static let micro = ModelConfiguration(
        vocabularySize: 256, width: 192, layerCount: 6, headCount: 6, feedForwardWidth: 512, contextLength: 256)
    /// 15.7 million parameters.
    package static let tiny = ModelConfiguration(
        vocabularySize: 4096, width: 384, layerCount: 8, headCount: 6, feedForwardWidth: 1024, contextLength: 256)
    /// 109.5 million parameters.
    package static let small = ModelConfiguration(
        vocabularySize: 32_000, width: 768, layerCount: 12, headCount: 12, feedForwardWidth: 2048, contextLength: 512)

    /// The presets by name, smallest first.
    package static let presets: [(name: String, configuration: ModelConfiguration)] = [
        ("nano", nano), ("micro", micro), ("tiny", tiny), ("small", small),
    ]

    /// The preset of that name.
    package static func preset(named name: String) -> ModelConfiguration? {
        presets.first { $0.name == name }?.configuration
    }

    /// Width of all query heads together.
    package var queryWidth: Int { headCount * headWidth }
    /// Width of all key (or value) heads together.
    package var keyValueWidth: Int { keyValueHeadCount * headWidth }

    /// Upper bounds on what a charter or a checkpoint may ask for; far above the presets, far below overflow.
    package enum Limits {
        /// Largest vocabulary (the largest published one is about 262 thousand).
        package static let vocabularySizeMax = 1 << 20
        /// Largest width of anything in a block.
        package static let widthMax = 1 << 17
        /// Most blocks.
        package static let layerCountMax = 1 << 10
        /// Longest context.
        package static let contextLengthMax = 1 << 20
        /// Most parameters: 64 GiB of float32.
        package static let parameterCountMax = 1 << 34
    }

    /// Checks every field, so that a configuration from a peer or a file can be used.
    package func validate() throws(ModelError) {
        let limits = Limits.self
        try Self.check("vocabulary size", vocabularySize, in: 1...limits.vocabularySizeMax)
        try Self.check("width", width, in: 1...limits.widthMax)
        try Self.check("layer count", layerCount, in: 1...limits.layerCountMax)
        try Self.check("head count", headCount, in: 1...limits.widthMax)
        try Self.check("key-value head count", keyValueHeadCount, in: 1...headCount)
        try Self.check("head width", headWidth, in: 2...limits.widthMax)
        try Self.check("feed-forward width", feedForwardWidth, in: 1...limits.widthMax)
        try Self.check("context length", contextLength, in: 1...limits.contextLengthMax)
        guard headCount % keyValueHeadCount == 0 else {
            throw .invalidConfiguration("the key-value head count must divide the head count")
        }
        guard headWidth % 2 == 0 else { throw .invalidConfiguration("the head width must be even") }
        try Self.check("width of all heads", queryWidth, in: 2...limits.widthMax)
        guard ropeTheta.isFinite, ropeTheta >= 1 else {
            throw .invalidConfiguration("the rotary base must be finite and at least 1")
        }
        try ropeScaling?.validate(for: self)
        guard rmsNormEpsilon.isFinite, rmsNormEpsilon > 0, rmsNormEpsilon < 1 else {
            throw .invalidConfiguration("the RMSNorm epsilon must lie between 0 and 1")
        }
        guard parameterCount <= limits.parameterCountMax else {
            throw .invalidConfiguration("\(parameterCount) parameters are more than \(limits.parameterCountMax)")
        }
    }

    private static func check(_ name: String, _ value: Int, in range: ClosedRange<Int>) throws(ModelError) {
        guard range.contains(value) else {
            throw .invalidConfiguration("\(name) \(value) must lie in \(range.lowerBound)...\(range.upperBound)")
        }
    }

    /// Parameters of one decoder block. No overflow within `Limits`.
    package var blockParameterCount: Int {
        2 * width + width * (2 * queryWidth + 2 * keyValueWidth) + 3 * width * feedForwardWidth
    }

    /// Parameters of the whole model. No overflow within `Limits`.
    package var parameterCount: Int {
        layerCount * blockParameterCount + width + vocabularySize * width * (tiedEmbeddings ? 1 : 2)
    }
}
