package import JSONText

extension LocalGeneration {
    /// Why a text ended.
    package enum Finish: String, Sendable {
        /// With the last token that was asked for.
        case length
        /// With a token that ends a text.
        case end = "eos"
        /// Before a stop string.
        case stop
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// One text.
        package struct Result: Sendable {
            /// What was continued.
            package var prompt: String
            /// Its length.
            package var promptTokens: Int
            /// The generated tokens, the one that ended the text included.
            package var ids: [Int32]
            /// What was generated, as bytes: they need not be valid UTF-8.
            package var continuation: [UInt8]
            /// Why it ended.
            package var finish: Finish

            fileprivate var text: String { prompt + String(decoding: continuation, as: UTF8.self) }

            fileprivate var json: JSONValue {
                [
                    "prompt": .text(prompt), "prompt_tokens": .integer(Int64(promptTokens)),
                    "text": .text(String(decoding: continuation, as: UTF8.self)),
                    "ids": .array(ids.map { .integer(Int64($0)) }), "tokens": .integer(Int64(ids.count)),
                    "finish": .text(finish.rawValue),
                ]
            }
        }

        /// Tokens and the time that they took.
        package struct Speed: Sendable {
            /// Tokens, over all texts.
            package var tokens = 0
            /// Wall time in seconds.
            package var seconds = 0.0
            /// Null in JSON where nothing was measured.
            fileprivate var rate: JSONValue { tokens > 0 && seconds > 0 ? .number(Double(tokens) / seconds) : .null }
        }

        /// The texts in the order of the prompts.
        package var results: [Result] = []
        /// Seed of the draws.
        package var seed: UInt64
        /// Reading the prompts.
        package var prefill = Speed()
        /// Steps after the first token of each text, with drawing.
        package var decode = Speed()

        package var text: String {
            if results.count == 1 { return results[0].text }
            return results.enumerated().map { "[\($0 + 1)] \($1.text)" }.joined(separator: "\n")
        }

        /// One text's members, or `results` for several, and the speeds.
        package var json: JSONValue {
            var object = results.count == 1 ? results[0].json.object ?? JSONObject() : JSONObject()
            if results.count != 1 { object["results"] = .array(results.map(\.json)) }
            object["seed"] = .text("\(seed)")
            object["prefill_tokens_per_second"] = prefill.rate
            object["decode_tokens_per_second"] = decode.rate
            return .object(object)
        }
    }
}
