package import Compression
package import PeerNet

/// What happened, folded into one digest, with the last lines kept for a failure report.
package struct Trace {
    /// One line of the trace; text is made only when somebody reads it.
    package struct Line: Sendable {
        /// When.
        package let moment: Moment
        /// Where; nil: the world at large.
        package let node: NodeNumber?
        /// What.
        package let text: String
    }

    /// How many of the last lines are kept.
    package let linesKept: Int
    private var lines: [Line] = []
    private var start = 0
    /// The digest of everything up to the last fold.
    private var folded = Digest(hashing: [UInt8]())
    private var buffer: [UInt8] = []
    /// The number of lines so far.
    package private(set) var lineCount = 0

    /// An empty trace.
    package init(linesKept: Int = 400) { self.linesKept = linesKept }

    /// Adds a line.
    package mutating func append(_ text: String, node: NodeNumber?, at moment: Moment) {
        withUnsafeBytes(of: moment.nanoseconds.littleEndian) { buffer.append(contentsOf: $0) }
        withUnsafeBytes(of: Int32(node?.value ?? -1).littleEndian) { buffer.append(contentsOf: $0) }
        buffer.append(contentsOf: text.utf8)
        if buffer.count > 1 << 16 { fold() }
        lineCount += 1
        let line = Line(moment: moment, node: node, text: text)
        if lines.count < linesKept {
            lines.append(line)
        } else if linesKept > 0 {
            lines[start] = line
            start = (start + 1) % linesKept
        }
    }

    private mutating func fold() {
        folded = Digest(hashing: folded.bytes + buffer)
        buffer.removeAll(keepingCapacity: true)
    }

    /// The digest of all lines: equal digests, equal runs.
    package mutating func digest() -> Digest {
        fold()
        return folded
    }

    /// The last lines as text, oldest first.
    package var excerpt: [String] {
        (lines[start...] + lines[..<start]).map { line in
            let milliseconds = line.moment.nanoseconds / 1_000_000
            let clock = "\(milliseconds / 1000).\(String(String(milliseconds % 1000 + 1000).dropFirst()))"
            return "\(clock) \(line.node?.description ?? "world") \(line.text)"
        }
    }
}
