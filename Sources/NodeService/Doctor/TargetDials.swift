import PeerNet
import Transport

/// The doctor's dials of addresses that a person or an invite names, all at once.
struct TargetDials {
    /// Longer than this, an address counts as one that does not answer.
    static let timeout: Duration = .milliseconds(3500)
    private static let targetsMax = 16

    private let targets: [Multiaddr]
    /// How each dial ended; nil if it has not.
    private var outcomes: [Result<PeerID, TransportError>?]

    /// Dials; returns when all is decided, or the time is over.
    init(_ targets: [Multiaddr], over host: PeerHost) async {
        let targets = Array(targets.prefix(Self.targetsMax))
        self.targets = targets
        outcomes = Array(repeating: nil, count: targets.count)
        guard !targets.isEmpty else { return }
        let (stream, results) = AsyncStream<(Int, Result<PeerID, TransportError>)>.makeStream()
        for (index, target) in targets.enumerated() {
            // Not awaited: the system's resolver cannot be stopped, and a name may take it longer than a person waits.
            Task {
                do throws(TransportError) {
                    results.yield((index, .success(try await host.connect(to: [target]))))
                } catch {
                    results.yield((index, .failure(error)))
                }
            }
        }
        Task {
            await host.wait(Self.timeout + .milliseconds(500))
            results.finish()
        }
        for await (index, outcome) in stream {
            outcomes[index] = outcome
            if areOver { break }
        }
    }

    /// Whether every dial has ended.
    var areOver: Bool { outcomes.allSatisfy { $0 != nil } }

    /// Who was reached, and where.
    var contacts: [PeerContact] {
        zip(targets, outcomes).compactMap { target, outcome in
            guard case .success(let peer)? = outcome else { return nil }
            return PeerContact(peer: peer, addresses: [target])
        }
    }

    /// The addresses that lead nowhere. One that a person named is a fault; of an invite's, one that works is enough.
    func findings(areNamed: Bool) -> [Finding] {
        let isFault = areNamed || contacts.isEmpty
        return zip(targets, outcomes).compactMap { target, outcome in
            let (reason, cure): (String, String)
            switch outcome {
            case .success?: return nil
            case nil: (reason, cure) = ("no answer in time", Self.cure(for: target))
            case .failure(.wrongPeer(_, let found))?:
                reason = "another peer answers there: \(found)"
                cure = "Ask the owner for a new invite: that node's key has changed, or its address is another's now"
            case .failure(.unreachable(let reasons))?:
                // Each reason begins with the address.
                reason = reasons.joined(separator: "; ").replacing("\(target): ", with: "")
                cure = Self.cure(for: target)
            case .failure(let error)?: (reason, cure) = ("\(error)", Self.cure(for: target))
            }
            let cause = "bad address \(target): \(reason)"
            return isFault ? .fault(.address, cause, cure: cure) : .warning(.address, cause, cure: cure)
        }
    }

    private static func cure(for target: Multiaddr) -> String {
        let others = "check that the other node runs and that its port is open, or ask for its present address"
        if case .dns? = target.tcpEndpoint?.host {
            return "Check the spelling of the name and this machine's /etc/resolv.conf; else " + others
        }
        return others.prefix(1).uppercased() + others.dropFirst()
    }
}
