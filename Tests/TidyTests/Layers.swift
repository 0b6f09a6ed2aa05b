/// Which modules a module may import: design.md's list, lowest first, and what is foreign.
enum Layers {
    /// Our modules, lowest first; a module may import only those before it.
    static let order = [
        "CSodium", "CUV", "CZstd", "CZlib", "COpenBLAS", "COneDNN", "CFiles", "CVector", "NumericsBaseline",
        "NumericsV3",
        "NumericsV4", "NumericsV4BFloat16", "Numerics", "JSONText", "Tokenizing", "Corpus", "LanguageModel",
        "Checkpoint", "Compression", "OuterSync", "Experts", "PeerNet", "Swarm", "Transport", "Lab", "Simulation",
        "NodeService", "node",
    ]

    /// The few imports of our own that order allows but the boundaries forbid: drivers do not know each other, the
    /// protocol layers know neither data nor models, and a system library has one home.
    static let forbidden: [String: Set<String>] = [
        "OuterSync": ["Tokenizing", "Corpus", "LanguageModel", "Checkpoint", "JSONText"],
        "Compression": ["Tokenizing", "Corpus", "LanguageModel", "Checkpoint", "JSONText"],
        "LanguageModel": ["Corpus"],
        "PeerNet": modelling.union(["OuterSync", "Experts", "Compression"]),
        "Swarm": modelling.union(["Experts"]),
        "Transport": modelling.union(["Experts", "OuterSync", "Swarm", "Compression"]),
        "Simulation": modelling.union(["Experts", "Transport"]),
        "node": ["Transport", "PeerNet", "CUV", "CSodium", "CZstd", "CZlib", "COpenBLAS"],
    ]

    /// Modules of data and models, which the network never sees.
    static let modelling: Set<String> = ["Tokenizing", "Corpus", "LanguageModel", "Checkpoint", "JSONText"]

    /// The only modules that may import a system library.
    static let systemLibraries: [String: Set<String>] = [
        "CUV": ["Transport", "NodeService"],
        "CZstd": ["Compression", "Corpus"],
        "CZlib": ["Corpus"],
        "CFiles": ["Checkpoint"],
        "COpenBLAS": ["Numerics"],
        "COneDNN": ["Numerics"],
        "CSodium": ["Corpus", "Checkpoint", "Compression", "PeerNet", "Swarm", "Transport", "NodeService"],
        "CVector": ["Numerics", "NumericsBaseline", "NumericsV3", "NumericsV4", "NumericsV4BFloat16"],
    ]

    /// Foreign modules and who may import them. Glibc is libm and files: the protocol layers have no use for either.
    static let foreign: [String: Set<String>] = [
        "Glibc": Set(order).subtracting(["PeerNet", "Swarm", "OuterSync", "Simulation"]),
        "Synchronization": ["Numerics", "Checkpoint", "Transport", "NodeService", "node"],
        "SwiftProtobuf": ["PeerNet", "Swarm", "NodeService"],
        "Collections": ["PeerNet", "Swarm", "OuterSync", "Transport", "Simulation", "NodeService"],
        "Foundation": ["NodeService", "node"],
        "FoundationEssentials": ["NodeService", "node"],
        "Logging": ["NodeService", "node"],
        "Yams": ["NodeService", "node"],
        "ArgumentParser": ["node"],
    ]

    /// Why `module` may not import `imported`; nil where it may.
    static func objection(to imported: String, in module: String) -> String? {
        if let users = systemLibraries[imported] {
            return users.contains(module)
                ? nil : "only \(users.sorted().joined(separator: ", ")) may import \(imported)"
        }
        if let users = foreign[imported] {
            return users.contains(module)
                ? nil : "only \(users.sorted().joined(separator: ", ")) may import \(imported)"
        }
        guard let rank = order.firstIndex(of: module) else { return "module \(module) has no place in the order" }
        guard let other = order.firstIndex(of: imported) else { return "\(imported) is on no list" }
        if other >= rank { return "\(imported) is not below \(module)" }
        if forbidden[module]?.contains(imported) == true { return "the boundaries keep \(imported) out of \(module)" }
        return nil
    }
}
