import Corpus
import JSONText

extension DomainSummary {
    /// What was read and left out, as JSON.
    var json: JSONValue {
        [
            "name": .text(name), "files": .integer(Int64(fileCount)), "bytes": .integer(Int64(byteCount)),
            "training_documents": .integer(Int64(trainingDocumentCount)),
            "held_out_documents": .integer(Int64(heldOutDocumentCount)),
            "training_tokens": .integer(Int64(trainingTokenCount)),
            "held_out_tokens": .integer(Int64(heldOutTokenCount)),
            "unreadable_files": .integer(Int64(unreadableFileCount)),
            "redundant_files": .integer(Int64(redundantFileCount)),
            "files_beyond_limit": .integer(Int64(filesBeyondLimitCount)),
            "malformed_lines": .integer(Int64(malformedLineCount)),
        ]
    }

    /// The same for people: a line with what was read, and one for each kind of thing that was left out.
    var lines: [String] {
        lines(
            "\(trainingTokenCount) tokens of \(trainingDocumentCount) documents to train on, \(heldOutTokenCount) held out"
        )
    }

    /// The same for people after a preparation, when the context is not known and the split not made.
    var preparedLines: [String] {
        let tokenCount = trainingTokenCount + heldOutTokenCount
        let isSplit = heldOutTokenCount > 0 && heldOutTokenCount <= tokenCount / 2
        return lines(
            "\(tokenCount) tokens of \(trainingDocumentCount + heldOutDocumentCount) documents, "
                + (isSplit ? "\(heldOutTokenCount) to hold out" : "of which training will choose what to hold out"))
    }

    /// The same for people where only text is wanted, not tokens.
    var textLines: [String] { lines("\(byteCount) bytes of \(fileCount) files") }

    private func lines(_ found: String) -> [String] {
        var lines = ["\(name): \(found)"]
        if let unreadableExample {
            lines.append(
                "\(name): \(unreadableFileCount) files could not be read and are left out: \(unreadableExample)")
        }
        if let malformedExample {
            lines.append(
                "\(name): \(malformedLineCount) of \(malformedLineCount + usableLineCount) lines hold no text and are left "
                    + "out: \(malformedExample)")
        }
        if filesBeyondLimitCount > 0 {
            lines.append(
                "\(name): \(filesBeyondLimitCount) files left out or cut, beyond \(Corpus.byteCountMaxDefault >> 20) MiB; "
                    + "atoll data prepare takes text of any size")
        }
        return lines.map(UserError.oneLine)
    }
}
