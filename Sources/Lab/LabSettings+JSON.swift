package import JSONText
import LanguageModel

extension LabSettings {
    /// All that decides a run but its seed and its text, in a fixed order: runs of equal settings are the same run.
    package var json: JSONValue {
        [
            "name": .text(name), "parameters": .integer(Int64(model.parameterCount)),
            "window_tokens": .integer(Int64(windowTokens)), "global_batch": .integer(Int64(globalBatch)),
            "workers": .integer(Int64(workers)), "steps": .integer(Int64(steps)),
            "evaluations": .integer(Int64(evaluations)), "held_out_windows": .integer(Int64(heldOutWindows)),
            "speeds": .array(speeds.map { .number($0) }), "inner": .text("\(inner)"), "method": .text("\(method)"),
        ]
    }
}
