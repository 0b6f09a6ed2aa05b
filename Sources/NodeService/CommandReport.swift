import Glibc
package import JSONText

/// What a command has to say when it is done: a text for people and one line of JSON for programs.
package protocol CommandReport: Sendable {
    /// Lines for people, without the last newline.
    var text: String { get }
    /// The same as one JSON object.
    var json: JSONValue { get }
}

extension CommandReport {
    /// Writes the report to standard output.
    package func show(json asJSON: Bool) throws(UserError) {
        try StandardOutput.write(asJSON ? json.line + [0x0a] : Array("\(text)\n".utf8))
    }
}

/// Standard output, written at once and with its errors noticed (a full disk behind a redirection).
package enum StandardOutput {
    /// Writes all of the bytes.
    package static func write(_ bytes: [UInt8]) throws(UserError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("write to standard output", errno: errno) }
            rest = rest.dropFirst(count)
        }
    }
}
