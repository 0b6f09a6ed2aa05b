import Compression
import LanguageModel
import OuterSync
import Swarm

extension Charter.Model {
    /// The charter's form of a model configuration.
    init(_ configuration: ModelConfiguration) {
        self.init(
            vocabularySize: configuration.vocabularySize, width: configuration.width,
            layerCount: configuration.layerCount, headCount: configuration.headCount,
            keyValueHeadCount: configuration.keyValueHeadCount, headWidth: configuration.headWidth,
            feedForwardWidth: configuration.feedForwardWidth, contextLength: configuration.contextLength,
            ropeTheta: Float(configuration.ropeTheta), rmsNormEpsilon: configuration.rmsNormEpsilon,
            tiedEmbeddings: configuration.tiedEmbeddings)
    }

    /// The model configuration that the charter describes.
    func configuration() throws(ModelError) -> ModelConfiguration {
        let configuration = ModelConfiguration(
            vocabularySize: vocabularySize, width: width, layerCount: layerCount, headCount: headCount,
            keyValueHeadCount: keyValueHeadCount, headWidth: headWidth, feedForwardWidth: feedForwardWidth,
            contextLength: contextLength, ropeTheta: Double(ropeTheta), rmsNormEpsilon: rmsNormEpsilon,
            tiedEmbeddings: tiedEmbeddings)
        try configuration.validate()
        return configuration
    }
}

extension FragmentLayout {
    /// The cut that a charter asks for.
    init(_ layout: ParameterLayout, rule: Charter.FragmentRule) throws(LayoutError) {
        let rule: OuterSync.FragmentRule =
            switch rule {
            case .stridedThrees: .stridedThrees
            }
        try self.init(
            tensors: layout.tensors.map {
                TensorDescription(name: $0.name, shape: $0.shape, block: $0.block, modelOffset: $0.offset)
            }, rule: rule)
    }
}

extension LearningRateSchedule {
    /// The charter's schedule over committed tokens.
    init(_ inner: Charter.Inner, tokenBudget: UInt64) {
        self.init(
            peak: inner.learningRate, finalFraction: inner.finalLearningRateShare,
            warmUp: min(inner.warmupTokens, tokenBudget), total: tokenBudget)
    }
}
