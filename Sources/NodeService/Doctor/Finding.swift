package import JSONText

/// One thing that the doctor looked at.
package struct Finding: Hashable, Sendable {
    /// What it is about.
    package enum Subject: String, Hashable, Sendable, CaseIterable {
        case home, disk, interfaces, address, port, nat, peers, clock, version, processor, memory
    }

    /// How bad it is.
    package enum Level: String, Hashable, Sendable {
        /// As it should be.
        case ok
        /// The node works, but less well than it could, or it could not be looked at.
        case warning
        /// The node does not work, or not with others.
        case fault
    }

    /// What it is about.
    package var subject: Subject
    /// How bad it is.
    package var level: Level
    /// What was found; no final full stop.
    package var cause: String
    /// What the person can do about it; nil where all is well.
    package var cure: String?

    static func ok(_ subject: Subject, _ cause: String) -> Finding {
        Finding(subject: subject, level: .ok, cause: cause, cure: nil)
    }

    static func warning(_ subject: Subject, _ cause: String, cure: String) -> Finding {
        Finding(subject: subject, level: .warning, cause: cause, cure: cure)
    }

    static func fault(_ subject: Subject, _ cause: String, cure: String) -> Finding {
        Finding(subject: subject, level: .fault, cause: cause, cure: cure)
    }

    static func fault(_ subject: Subject, _ error: UserError) -> Finding {
        fault(subject, error.message, cure: error.cure)
    }

    var json: JSONValue {
        [
            "subject": .text(subject.rawValue), "level": .text(level.rawValue), "cause": .text(cause),
            "cure": cure.map(JSONValue.text) ?? .null,
        ]
    }
}

/// All that `atoll doctor` found.
package struct DoctorReport: CommandReport {
    /// The findings, in the order of their subjects.
    package var findings: [Finding]

    /// The exit code of a doctor that found a fault.
    package static let faultExitCode: Int32 = 1

    init(_ findings: [Finding]) {
        let order = Finding.Subject.allCases
        self.findings = order.flatMap { subject in findings.filter { $0.subject == subject } }
    }

    /// Whether anything is broken.
    package var hasFault: Bool { findings.contains { $0.level == .fault } }

    private func count(_ level: Finding.Level) -> Int { findings.count { $0.level == level } }

    package var text: String {
        let lines = findings.flatMap { finding in
            let level = finding.level == .fault ? "FAULT" : finding.level.rawValue
            let head = Self.padded(level, 9) + Self.padded(finding.subject.rawValue, 12)
            let cure = finding.cure.map { [String(repeating: " ", count: head.count) + "cure: " + $0] } ?? []
            return [head + UserError.oneLine(finding.cause)] + cure
        }
        let faults = count(.fault) == 1 ? "1 fault" : "\(count(.fault)) faults"
        let warnings = count(.warning) == 1 ? "1 warning" : "\(count(.warning)) warnings"
        return (lines + ["\(faults), \(warnings)"]).joined(separator: "\n")
    }

    package var json: JSONValue {
        [
            "findings": .array(findings.map(\.json)), "faults": .integer(Int64(count(.fault))),
            "warnings": .integer(Int64(count(.warning))),
        ]
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
