/// Continues several texts token by token.
package protocol TextGenerator: AnyObject {
    /// Reads tokens of several texts, each of which is named once at most.
    func read(_ prompts: [(sequence: Int, tokens: [Int32])]) throws(ModelError)

    /// Draws the next token of some texts, which are named once each and have at least one token.
    func next(_ settings: SamplingSettings, sequences chosen: [Int]) throws(ModelError) -> [Int32]
}
