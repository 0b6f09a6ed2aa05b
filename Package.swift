// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: language mode 6, warnings are errors, imports do not leak.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InferIsolatedConformances"),
]

/// Kernel targets: one source, one instruction set each, chosen at run time. `-O` keeps debug tests fast.
func kernelSettings(_ architecture: String?, _ extensions: [String] = []) -> [SwiftSetting] {
    guard let architecture else { return strict + [.unsafeFlags(["-O"])] }
    #if arch(x86_64)
        return strict + [
            .unsafeFlags(["-O", "-Xcc", "-march=\(architecture)"] + extensions.flatMap { ["-Xcc", "-m\($0)"] })
        ]
    #else
        return strict + [.unsafeFlags(["-O"])]
    #endif
}

func module(_ name: String, _ dependencies: [Target.Dependency] = [], settings: [SwiftSetting] = strict) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ module: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(module)Tests", dependencies: [.byName(name: module)] + dependencies, swiftSettings: strict)
}

let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "atoll",
    products: [.executable(name: "atoll", targets: ["atoll"])],
    dependencies: [
        // Command line: help, completion and validation in the form users know.
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        // Wire headers: the runtime only; generated code is committed.
        .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
        // Leveled, structured log lines of the daemon.
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        // Specs and config are YAML.
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        // System libraries, lowest first. No `link` lines where pkg-config decides.
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CUV", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
        // Vector header and the kernels built once per instruction set.
        .target(name: "CVector"),
        // The one system call that Swift's Glibc lacks.
        .target(name: "CFiles"),
        module("NumericsBaseline", ["CVector"], settings: kernelSettings(nil)),
        module("NumericsV3", ["CVector"], settings: kernelSettings("x86-64-v3")),
        module("NumericsV4", ["CVector"], settings: kernelSettings("x86-64-v4")),
        module("NumericsV4BFloat16", ["CVector"], settings: kernelSettings("x86-64-v4", ["avx512bf16"])),
        module(
            "Numerics",
            [
                "CVector", "COpenBLAS", "COneDNN", "NumericsBaseline", "NumericsV3", "NumericsV4", "NumericsV4BFloat16",
            ]),
        // Data and models.
        module("JSONText"),
        module("Tokenizing", ["JSONText", "Numerics"]),
        module("Corpus", ["CSodium", "CZlib", "CZstd", "JSONText", "Numerics", "Tokenizing"]),
        module("LanguageModel", ["Numerics"]),
        module("Checkpoint", ["CFiles", "CSodium", "JSONText", "Numerics", "LanguageModel", "Tokenizing"]),
        // Synchronization.
        module("Compression", ["CSodium", "CZstd", "NumericsBaseline"]),
        module("OuterSync", ["Compression", "NumericsBaseline"]),
        module("Experts", ["Checkpoint", "LanguageModel", "Numerics", "JSONText", "Tokenizing"]),
        // Network and swarm: pure state machines.
        module("PeerNet", ["CSodium", protobuf]),
        module("Swarm", ["CSodium", "Compression", "OuterSync", "PeerNet", protobuf]),
        // Drivers.
        module("Transport", ["CUV", "CSodium", "PeerNet"]),
        // Learning experiments.
        module("Lab", ["Numerics", "JSONText", "Corpus", "LanguageModel", "Compression", "OuterSync", "Experts"]),
        module("Simulation", ["Compression", "OuterSync", "PeerNet", "Swarm"]),
        // Composition.
        module(
            "NodeService",
            [
                "Numerics", "Tokenizing", "Corpus", "LanguageModel", "Checkpoint", "Compression", "OuterSync",
                "Experts",
                "JSONText", "PeerNet", "Swarm", "Transport", "Lab", logging, .product(name: "Yams", package: "Yams"),
            ]),
        .executableTarget(
            name: "atoll",
            dependencies: [
                "NodeService", "Simulation", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "node", exclude: ["atoll.service", "config.example.yaml"], swiftSettings: strict),
        // Tests.
        .target(name: "FuzzSupport", path: "Tests/FuzzSupport", swiftSettings: strict),
        tests("Numerics"), tests("JSONText"), tests("Tokenizing", ["JSONText", "Numerics"]),
        tests("Corpus", ["CZlib", "CZstd", "JSONText", "Numerics", "Tokenizing"]),
        tests("LanguageModel", ["Numerics"]),
        tests("Checkpoint", ["LanguageModel", "JSONText", "Numerics", "Tokenizing"]),
        tests("Compression", ["FuzzSupport", "NumericsBaseline", "NumericsV3", "NumericsV4", "CVector"]),
        tests("OuterSync", ["Compression", "FuzzSupport", "NumericsBaseline", "NumericsV3", "NumericsV4", "CVector"]),
        tests("Lab", ["Compression", "Corpus", "JSONText", "LanguageModel", "OuterSync", "Tokenizing"]),
        tests("Experts", ["Checkpoint", "JSONText", "LanguageModel", "Numerics", "Tokenizing"]),
        tests("PeerNet", ["FuzzSupport"]),
        tests("Swarm", ["Compression", "FuzzSupport", "OuterSync", "PeerNet"]), tests("Transport", ["PeerNet"]),
        tests("Simulation", ["Swarm", "OuterSync", "PeerNet", "Compression"]),
        tests(
            "NodeService",
            [
                "Checkpoint", "Compression", "OuterSync", "PeerNet", "Swarm", "Transport", "JSONText", "LanguageModel",
                "Lab", "Tokenizing",
            ]),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        .testTarget(name: "IntegrationTests", dependencies: ["atoll", "Swarm"], swiftSettings: strict),
    ]
)
