package import Checkpoint
package import LanguageModel

/// A tensor whose values are read piece by piece as float32, from any thread and from several at once.
package protocol TensorReading: Sendable {
    /// Extents, the slowest first.
    var shape: [Int] { get }

    /// Reads elements in the order of the file.
    ///
    /// - Parameter target: one float32 per element.
    /// - Throws: for what cannot be read, and for NaN and infinity.
    func read(
        _ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError)
}

extension TensorReading {
    /// The number of elements.
    package var count: Int { shape.reduce(1, *) }
}

/// A tensor of a checkpoint folder.
package struct StoredTensor: TensorReading {
    private let folder: ModelFolder
    private let tensor: ParameterLayout.Tensor

    /// Names one of the folder's tensors.
    package init(_ tensor: ParameterLayout.Tensor, of folder: ModelFolder) {
        self.folder = folder
        self.tensor = tensor
    }

    package var shape: [Int] { tensor.shape }

    package func read(
        _ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        try folder.read(tensor, elements, into: target)
    }
}
