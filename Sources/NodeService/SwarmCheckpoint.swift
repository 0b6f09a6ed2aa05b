import Checkpoint
import Compression
import LanguageModel
import Numerics
import OuterSync
import Swarm
import Tokenizing

/// Takes the swarm's model out of a node: the heads on its disk, whether the node runs or not.
package struct SwarmCheckpoint: Sendable {
    private let home: NodeHome

    /// Works on a home.
    package init(home: NodeHome) { self.home = home }

    /// What was written.
    package struct Summary: Sendable {
        /// The folder.
        package var path: String
        /// The model's parameters.
        package var parameters: Int
        /// Per fragment the head's digest, hexadecimal.
        package var heads: [String]
    }

    /// Writes a Hugging Face folder.
    package func write(to path: String) throws(UserError) -> Summary {
        try NodeHome.mapping {
            guard home.isInitialized else {
                throw UserError("\(home.path) is no node's home", cure: "Make one with atoll init", exitCode: .noInput)
            }
            let record = try SwarmRegistry(home: home).active()
            let model = try record.charter.model.configuration()
            let parameterLayout = ParameterLayout(model)
            let layout = try FragmentLayout(parameterLayout, rule: record.charter.fragmentRule)
            let folder = record.folder.heads(layout: layout)
            let heads = try layout.fragments.map { fragment in
                guard let head = try record.folder.explainingDamage({ try folder.load(fragment) }) else {
                    throw UserError(
                        "the node has no heads yet", cure: "Start it with atoll node start", exitCode: .noInput)
                }
                return head
            }
            let parameters = FloatBuffer(
                copying: NodeSetup.flatParameters(heads, layout: layout, count: parameterLayout.count))
            try ModelFolder.write(to: path, configuration: model, tokenizer: .bytes, parameters: parameters)
            return Summary(path: path, parameters: layout.parameterCount, heads: heads.map(\.digest.description))
        }
    }
}
