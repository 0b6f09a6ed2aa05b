import Checkpoint
import Glibc
import JSONText
import Swarm
import Transport

/// The run log of a node or of `atoll train`: one line of JSON per event, for whoever plots or measures. Not fsynced: it is not needed for anything.
final class RunLog {
    typealias Members = KeyValuePairs<JSONString, JSONValue>

    private let descriptor: Int32

    /// Appends to a file.
    init(path: String) throws(FileError) {
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError(.create, path, errno: errno) }
    }

    deinit { close(descriptor) }

    /// Seconds since 1970.
    static var wallSeconds: Double { Double(WallClock.nanoseconds) * 1e-9 }

    /// Appends a training step.
    func append(step progress: TrainingProgress, loss: Double, seconds: Double) {
        append(
            "step",
            [
                "step": .integer(Int64(clamping: progress.steps)), "tokens": .integer(Int64(clamping: progress.tokens)),
                "loss": .number(loss), "step_seconds": .number(seconds),
            ])
    }

    /// Appends one event; a full disk loses it, and training goes on.
    func append(_ event: String, _ members: Members) {
        var object = JSONObject()
        object["time"] = .number(Self.wallSeconds)
        object["event"] = .text(event)
        for (key, value) in members { object[key] = value }
        let line = JSONValue.object(object).line + [UInt8(ascii: "\n")]
        let count = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        // What a full disk took of a line goes again, so that the next one starts where readers expect it.
        var status = stat()
        if count > 0, count < line.count, fstat(descriptor, &status) == 0 {
            ftruncate(descriptor, status.st_size - off_t(count))
        }
    }
}
