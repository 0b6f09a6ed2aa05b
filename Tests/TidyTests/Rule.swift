import Glibc

/// A textual rule about code lines.
struct Rule: Sendable {
    /// The name by which the allow-list refers to it.
    let name: String
    /// What to do instead.
    let advice: String
    /// Whether it holds in a module.
    let holds: @Sendable (_ module: String) -> Bool
    /// Whether a blanked line breaks it.
    let isBroken: @Sendable (_ code: String) -> Bool
    /// Whether tests are held to it too.
    var coversTests = false

    init(
        _ name: String, _ advice: String, in holds: @escaping @Sendable (String) -> Bool = { _ in true },
        when isBroken: @escaping @Sendable (String) -> Bool
    ) {
        self.name = name
        self.advice = advice
        self.holds = holds
        self.isBroken = isBroken
    }

    /// A rule against some words, each found where no identifier character precedes it.
    init(
        _ name: String, _ advice: String, in holds: @escaping @Sendable (String) -> Bool = { _ in true },
        words: [String]
    ) {
        self.init(name, advice, in: holds) { code in words.contains { contains($0, in: code) } }
    }

    /// The pure protocol layers and their driver in virtual time: no clock, no threads, no files.
    static let pure: Set<String> = ["OuterSync", "PeerNet", "Swarm", "Simulation"]
    /// What may talk to a terminal.
    static let printers: Set<String> = ["node"]

    /// Optimized code of Swift 6.3 may free the memory of several `async let` in the wrong order, which corrupts the
    /// heap (swiftlang/swift#81771).
    static var asyncLet: Rule {
        var rule = Rule("async let", "start a Task and await its value", words: ["async let"])
        rule.coversTests = true
        return rule
    }

    static let all: [Rule] = [
        Rule(
            "wall clock", "time is passed in as a Moment",
            in: { $0 != "NodeService" && $0 != "node" && $0 != "Transport" },
            words: ["Date()", "ContinuousClock", "SuspendingClock", "clock_gettime", "gettimeofday", "time(nil)"]),
        Rule("date", "use the driver's clock, or strftime at the edge", words: ["Date()", "Date.now"]),
        Rule("system randomness", "draw from a seeded generator", words: ["SystemRandomNumberGenerator"]),
        Rule(
            "unseeded randomness", "pass `using:` a seeded generator",
            when: { code in
                [".random(in:", ".shuffled()", ".shuffle()", ".randomElement()", "Bool.random()"].contains {
                    code.contains($0) && !code.contains("using:")
                }
            }),
        Rule("sleep", "wait on a timer of the loop", words: ["Task.sleep", "usleep(", "nanosleep(", "sleep("]),
        Rule("print", "libraries return text, events or errors", in: { !printers.contains($0) }, words: ["print("]),
        Rule("try!", "throw", words: ["try!"]),
        Rule("as!", "use as? or a type that knows", words: ["as!"]),
        Rule("fatalError", "use preconditionFailure with the broken rule, or throw", words: ["fatalError("]),
        Rule("force unwrap", "bind with guard let", when: { hasForceUnwrap($0) }),
        Rule("@unchecked Sendable", "list it here with its reason", words: ["@unchecked Sendable"]),
        Rule("nonisolated(unsafe)", "list it here with its reason", words: ["nonisolated(unsafe)"]),
        .asyncLet,
        Rule(
            "vector outside the kernels", "store words: one that lives across an await overruns its async context",
            in: { !$0.hasPrefix("Numerics") },
            words: ["SIMD2<", "SIMD3<", "SIMD4<", "SIMD8<", "SIMD16<", "SIMD32<", "SIMD64<"]),
        Rule("@preconcurrency", "isolate properly", words: ["@preconcurrency"]),
        Rule(
            "public", "package is the widest access between our modules",
            when: { code in
                [
                    "public struct", "public enum", "public func", "public class", "public actor", "public protocol",
                    "public let", "public var", "public init", "public static",
                ].contains { contains($0, in: code) }
            }),
        Rule(
            "concurrency in a pure layer", "cores run to completion; drivers own tasks", in: { pure.contains($0) },
            words: ["Task {", "Task.detached", "Thread(", "DispatchQueue", "pthread_", "await "]),
    ]
}

/// Whether `word` stands in `code` with no identifier character right before it.
func contains(_ word: String, in code: String) -> Bool {
    code.withCString { start in
        word.withCString { needle in
            var from = start
            while let found = strstr(from, needle) {
                if found == start || !isIdentifier(UInt8(bitPattern: found[-1]))
                    || !isIdentifier(UInt8(bitPattern: needle[0]))
                {
                    return true
                }
                from = UnsafePointer(found) + 1
            }
            return false
        }
    }
}

/// Whether a postfix `!` follows a name, a call or a subscript.
func hasForceUnwrap(_ code: String) -> Bool {
    let bytes = Array(code.utf8)
    guard bytes.count > 1 else { return false }
    for index in 1..<bytes.count where bytes[index] == UInt8(ascii: "!") {
        let before = bytes[index - 1]
        let after = index + 1 < bytes.count ? bytes[index + 1] : 0
        if after != UInt8(ascii: "="),
            isIdentifier(before) || before == UInt8(ascii: ")") || before == UInt8(ascii: "]")
        {
            return true
        }
    }
    return false
}

private func isIdentifier(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "_"):
        true
    default: false
    }
}
