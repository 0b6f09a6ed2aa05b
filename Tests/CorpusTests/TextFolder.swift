import Glibc

/// A folder of text files of its own for one test, removed at the end.
final class TextFolder {
    let path: String

    init() {
        var template = Array("/tmp/atoll-corpus-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    subscript(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ name: String, _ text: String) { write(name, Array(text.utf8)) }

    func write(_ name: String, _ bytes: [UInt8]) {
        let folders = name.utf8.split(separator: UInt8(ascii: "/")).dropLast()
        var folder = path
        for part in folders {
            folder += "/" + String(decoding: Array(part), as: UTF8.self)
            mkdir(folder, 0o755)
        }
        let file = open(self[name], O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        precondition(file >= 0, "a text file must be made")
        precondition(Glibc.write(file, bytes, bytes.count) == bytes.count, "a text file must be written")
        close(file)
    }

    /// Writes `count` files of `length` bytes whose texts all differ.
    func fill(_ folder: String, count: Int, length: Int = 200) {
        for index in 0..<count {
            let line = "\(folder) \(index) "
            write("\(folder)/\(index).txt", String(String(repeating: line, count: length).prefix(length)))
        }
    }

    private static func remove(_ path: String) {
        guard let stream = opendir(path) else { return }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." && unlink("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
        }
        closedir(stream)
        rmdir(path)
    }
}
