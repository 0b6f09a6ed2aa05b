package import Numerics

/// Everything that training needs to go on where it stood: parameters, Adam's moments and its step count.
///
/// One owner at a time (it is not Sendable); the trainer changes it only inside `Trainer.step` and `update`, so between
/// steps its owner may read and blend ranges freely.
package final class TrainingState {
    /// Where the tensors lie in each of the three buffers.
    package let layout: ParameterLayout
    /// The live parameters.
    package let parameters: FloatBuffer
    /// Adam's running mean of the gradient.
    package let firstMoment: FloatBuffer
    /// Adam's running mean of the squared gradient.
    package let secondMoment: FloatBuffer
    /// Updates that the moments have seen; drives Adam's bias correction.
    package var updateCount: UInt64

    /// A model initialised from `seed`, with fresh moments. The configuration must be valid.
    package convenience init(configuration: ModelConfiguration, seed: UInt64) {
        let layout = ParameterLayout(configuration)
        self.init(layout: layout, parameters: layout.initialParameters(seed: seed))
    }

    /// A model with given parameters and fresh moments; takes over `parameters`.
    package convenience init(layout: ParameterLayout, parameters: FloatBuffer) {
        self.init(
            layout: layout, parameters: parameters, firstMoment: FloatBuffer(count: layout.count),
            secondMoment: FloatBuffer(count: layout.count), updateCount: 0)
    }

    /// Restores a stored state; takes over the buffers, whose counts must be the layout's.
    package init(
        layout: ParameterLayout, parameters: FloatBuffer, firstMoment: FloatBuffer, secondMoment: FloatBuffer,
        updateCount: UInt64
    ) {
        precondition(
            parameters.count == layout.count && firstMoment.count == layout.count && secondMoment.count == layout.count,
            "each buffer must hold one float per parameter")
        self.layout = layout
        self.parameters = parameters
        self.firstMoment = firstMoment
        self.secondMoment = secondMoment
        self.updateCount = updateCount
    }

    /// Copies live parameters out, as for a snapshot of a fragment.
    package func readRange(_ range: Range<Int>, into destination: UnsafeMutableBufferPointer<Float>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= layout.count, "the range must lie in the layout")
        precondition(destination.count == range.count, "the destination must hold the range")
        destination.baseAddress?.update(from: parameters.pointer + range.lowerBound, count: range.count)
    }

    /// live = alpha * live + (1 - alpha) * target, in plain arithmetic (equal bits on every machine); alpha 0 overwrites.
    package func blendRange(_ range: Range<Int>, with target: UnsafeBufferPointer<Float>, keeping alpha: Float) {
        precondition(range.lowerBound >= 0 && range.upperBound <= layout.count, "the range must lie in the layout")
        precondition(target.count == range.count, "the target must fill the range")
        guard let source = target.baseAddress else { return }
        let live = parameters.pointer + range.lowerBound
        if alpha == 0 {
            live.update(from: source, count: range.count)
        } else {
            Kernels.best.blend(range.count, alpha, source, live)
        }
    }

    /// Forgets Adam's moments of a range, as when a fragment was overwritten.
    package func resetMoments(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= layout.count, "the range must lie in the layout")
        (firstMoment.pointer + range.lowerBound).update(repeating: 0, count: range.count)
        (secondMoment.pointer + range.lowerBound).update(repeating: 0, count: range.count)
    }
}
