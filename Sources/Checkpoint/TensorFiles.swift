import Glibc
import JSONText

/// The tensors of a checkpoint folder: those of `model.safetensors`, or of the files that
/// `model.safetensors.index.json` names. Every file is open and its header checked.
package final class TensorFiles: Sendable {
    private let files: [SafetensorsFile]
    /// The file of each tensor.
    private let places: [JSONString: Int]

    static let fileName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"

    /// Opens the files of a folder.
    ///
    /// An index must name exactly the tensors that its files hold, each in the file that holds it. Both a single file and
    /// an index are refused: `transformers` takes the file, other programs the index.
    package init(folder: String) throws(CheckpointError) {
        let indexPath = "\(folder)/\(Self.indexName)"
        guard access(indexPath, F_OK) == 0 else {
            let file = try SafetensorsFile("\(folder)/\(Self.fileName)")
            files = [file]
            places = Dictionary(uniqueKeysWithValues: file.header.tensors.map { ($0.name, 0) })
            return
        }
        guard access("\(folder)/\(Self.fileName)", F_OK) != 0 else {
            throw .unsupported(
                path: folder,
                reason: "it holds \(Self.fileName) and \(Self.indexName), and programs differ in which one they take")
        }
        let text: [UInt8]
        do { text = try DurableFile.read(indexPath, byteCountMax: SafetensorsIndex.byteCountMax) } catch {
            throw .file(error)
        }
        let index: SafetensorsIndex
        do { index = try SafetensorsIndex(parsing: text) } catch {
            throw .damaged(path: indexPath, reason: error.reason)
        }
        var files: [SafetensorsFile] = []
        for name in index.files { files.append(try SafetensorsFile("\(folder)/\(name)")) }
        for (name, place) in index.places.sorted(by: { $0.key < $1.key }) where files[place].header[name] == nil {
            throw .damaged(path: files[place].path, reason: "the tensor \(name) is missing, the index promises it")
        }
        for (place, file) in files.enumerated() {
            for tensor in file.header.tensors where index.places[tensor.name] != place {
                let other = index.places[tensor.name].map { "the index has it in \(index.files[$0])" }
                throw .damaged(
                    path: file.path, reason: "it holds \(tensor.name), \(other ?? "which the index does not name")")
            }
        }
        self.files = files
        places = index.places
    }

    /// The path of the file that holds a tensor, or, for one that is not there, of the first file.
    func path(of name: JSONString) -> String { files[places[name] ?? 0].path }

    /// The names of the files, without the folder.
    var fileNames: [String] { files.map { splitPath($0.path).name } }

    /// The tensor of that name.
    subscript(_ name: JSONString) -> SafetensorsHeader.Tensor? { places[name].flatMap { files[$0].header[name] } }

    /// All tensors, file by file.
    var tensors: [SafetensorsHeader.Tensor] { files.flatMap(\.header.tensors) }

    /// The `__metadata__` pairs of the first file.
    var metadata: [(key: JSONString, value: JSONString)] { files.first?.header.metadata ?? [] }

    /// Reads elements of a tensor as float32.
    ///
    /// - Precondition: the tensor is there; `target` has room for the elements.
    func read(
        _ name: JSONString, _ elements: Range<Int>? = nil, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        guard let place = places[name], let tensor = files[place].header[name] else {
            preconditionFailure("a tensor is looked up before it is read")
        }
        try files[place].read(tensor, elements, into: target)
    }
}
