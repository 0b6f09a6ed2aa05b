import Checkpoint
import Glibc

/// A folder for one test, removed with what is in it at the end.
final class ScratchFolder {
    private let path: String

    init() {
        var template = Array("/tmp/atoll-experts-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in names {
            for file in (try? SystemFiles().list(self[name])) ?? [] { unlink("\(self[name])/\(file)") }
            rmdir(self[name])
            unlink(self[name])
        }
        rmdir(path)
    }

    /// The path of something in it.
    subscript(_ name: String) -> String { "\(path)/\(name)" }

    /// What is in it.
    var names: [String] { (try? SystemFiles().list(path)) ?? [] }

    /// The bytes of a file in it.
    func bytes(_ name: String) throws -> [UInt8] { try DurableFile.read(self[name], byteCountMax: 1 << 24) }
}
