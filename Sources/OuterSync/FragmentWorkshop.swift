package import Compression

/// Holds the heads of one node and does the arithmetic that its core asks for.
package final class FragmentWorkshop {
    /// The cut of the model.
    package let layout: FragmentLayout
    /// Makes a workshop from the heads of all fragments: genesis ones, or those that a `HeadStore` kept.
    package init(
        layout: FragmentLayout, codec: Codec, rule: OuterRule, heads: [FragmentHead], blobs: any BlobStore,
        headStore: any HeadStore
    ) { self.layout = layout }
    /// Keeps a copy of the live fragment, taken at a step boundary, under (fragment, round), against the current head.
    package func keepSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, live: [Float]) {}
    /// Forgets such a copy.
    package func releaseSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex) {}
    /// The current head of a fragment.
    package func head(_ fragment: FragmentIndex) -> FragmentHead { preconditionFailure("not yet") }
    /// Does one job.
    package func run(_ job: Job) -> JobResult { .discarded }
}
