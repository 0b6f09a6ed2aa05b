package import JSONText

/// One finished run.
package struct LabResult: Hashable, Sendable {
    /// The configuration's name.
    package var name: String
    /// What decided the run, as a digest (settings and text).
    package var key: String
    /// Its seed.
    package var seed: UInt64
    /// The curve; at least one point.
    package var points: [LabPoint]
    /// How long it took, in seconds of one thread.
    package var seconds: Double

    /// Wraps the fields.
    package init(name: String, key: String, seed: UInt64, points: [LabPoint], seconds: Double) {
        self.name = name
        self.key = key
        self.seed = seed
        self.points = points
        self.seconds = seconds
    }

    /// The last held-out loss.
    package var finalLoss: Double { points.last?.loss ?? .nan }
    /// Bytes that a worker uploaded on average.
    package var finalBytes: Double { points.last?.bytesPerWorker ?? 0 }

    /// One line of `results.jsonl`.
    package var json: JSONValue {
        [
            "name": .text(name), "key": .text(key), "seed": .text(String(seed)), "seconds": .number(seconds),
            "points": .array(
                points.map { point in
                    [
                        "tokens": .integer(Int64(point.tokens)), "loss": .number(point.loss),
                        "bytes_per_worker": .number(point.bytesPerWorker),
                    ]
                }),
        ]
    }

    /// Reads such a line; nil if it is none (torn by a crash, or of another version).
    package init?(line: [UInt8]) {
        guard let value = try? JSONValue(parsing: line).object, let name = value["name"]?.string,
            let key = value["key"]?.string, let seed = (value["seed"]?.string).flatMap({ UInt64("\($0)") }),
            let seconds = value["seconds"]?.double, let list = value["points"]?.array, !list.isEmpty
        else { return nil }
        var points: [LabPoint] = []
        for element in list {
            guard let point = element.object, let tokens = point["tokens"]?.integer, let loss = point["loss"]?.double,
                let bytes = point["bytes_per_worker"]?.double
            else { return nil }
            points.append(LabPoint(tokens: tokens, loss: loss, bytesPerWorker: bytes))
        }
        self.init(name: "\(name)", key: "\(key)", seed: seed, points: points, seconds: seconds)
    }
}
