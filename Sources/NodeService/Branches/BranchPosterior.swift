import Checkpoint
import Corpus
import Experts
import Glibc
import Swarm

/// Which experts text speaks for: the weights that a branch for new text starts with.
enum BranchPosterior {
    /// Windows of the text that are looked at; Branch-Train-Merge takes as many.
    private static let windowsMax = 100
    /// Experts with less than this share are left out.
    private static let shareMin = 0.001

    /// The mean of the posteriors of the text's windows, over checkpoint folders.
    static func shares(of paths: [String], on data: [String]) throws(UserError) -> [Double] {
        let sources = try DataSelection.parseUnweighted(
            data, for: "the shares of a branch's parents", cure: "Write NAME=GLOB or GLOB")
        do {
            let experts = try ExpertSet(paths)
            let text = try EvaluationText(
                sources, part: .all, tokenizer: experts.tokenizer, contextLength: experts.contextLength,
                windowCountMax: windowsMax)
            let windows = text.domains.flatMap { domain in
                (0..<domain.windows.count).map { Array(domain.windows[$0]) }
            }
            return try PosteriorWeights(experts, sample: windows, threads: NodeSetup.threadCount(0)).mean
        } catch let error as EnsembleError {
            throw UserError(error.description, cure: error.cure, exitCode: .badData)
        } catch { throw UserError(wrapping: error) }
    }

    /// The text of `--from` for experts by their ids.
    static func sourceList(_ ids: [String], _ shares: [Double]) -> String {
        zip(ids, shares).filter { $0.1 >= shareMin }.map { "\($0.0):\($0.1)" }.joined(separator: ",")
    }
}

extension NodeControl {
    /// Makes a branch of all experts that the node knows, in the shares in which text speaks for them, and goes on in it.
    ///
    /// - Parameter data: text as `NAME=GLOB` or `GLOB`.
    package func newBranch(
        _ name: String, fromPosteriorOn data: [String], tokenBudget: Int?
    ) async throws(UserError) -> BranchReport {
        let ids = try await experts().rows.map(\.id)
        guard !ids.isEmpty else {
            throw UserError(
                "there is no expert to start from", cure: "Close a branch or publish a checkpoint first",
                exitCode: .unavailable)
        }
        let folder: String
        do {
            folder = try SwarmRegistry(home: home).active().folder.path + "/posterior"
            if access(folder, F_OK) == 0 { try removeTree(folder) }
            try createFolders(folder)
        } catch { throw UserError(wrapping: error) }
        defer { try? removeTree(folder) }
        var paths: [String] = []
        for id in ids {
            paths.append("\(folder)/\(id)")
            _ = try await fetchExpert(id, to: "\(folder)/\(id)")
        }
        let shares = try BranchPosterior.shares(of: paths, on: data)
        return try await newBranch(name, from: BranchPosterior.sourceList(ids, shares), tokenBudget: tokenBudget)
    }
}
