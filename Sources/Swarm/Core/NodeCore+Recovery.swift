import Compression
import OuterSync
import PeerNet

extension NodeCore {
    static func check(_ configuration: Configuration, _ recovered: Recovered) throws(StartError) {
        let count = configuration.fragments.count
        guard (1...Limits.fragmentsMax).contains(count) else {
            throw .configuration("\(count) fragments, must be 1 to \(Limits.fragmentsMax)")
        }
        for shape in configuration.fragments {
            guard (1...Limits.fragmentTilesMax).contains(shape.tileCount) else {
                throw .configuration("a fragment has \(shape.tileCount) tiles, must be 1 to \(Limits.fragmentTilesMax)")
            }
            guard (1...Int(UInt32.max)).contains(shape.payloadBytesMax),
                (1...Int(UInt32.max)).contains(shape.snapshotTileBytesMax)
            else { throw .configuration("a fragment's byte limits are out of range") }
        }
        guard (1...Limits.rateClassMax).contains(configuration.rateClass) else {
            throw .configuration("rate class \(configuration.rateClass), must be 1 to \(Limits.rateClassMax)")
        }
        guard configuration.rateLimits.up <= Limits.kilobitsMax, configuration.rateLimits.down <= Limits.kilobitsMax
        else { throw .configuration("a rate limit is above \(Limits.kilobitsMax) kbit/s") }
        guard Branch.isID(configuration.branch),
            (configuration.branch == Branch.main) == (configuration.branchMaker == nil)
        else { throw .configuration("'\(configuration.branch)' is no branch with a maker") }
        guard recovered.heads.count == count, recovered.finals.count == count, recovered.liveBases.count == count else {
            throw .recovered("they are of \(recovered.heads.count) fragments; the charter makes \(count)")
        }
    }

    static func recoveredAdmissions(
        _ configuration: Configuration, _ recovered: Recovered
    ) throws(StartError) -> AdmissionBook {
        let context = AdmissionContext(swarmID: configuration.swarmID, founder: configuration.charter.founder)
        var book = AdmissionBook(rule: configuration.charter.admission, context: context)
        var records: [AdmissionRecord] = []
        for bytes in recovered.admissions {
            do { records.append(try AdmissionRecord(bytes: bytes, in: context)) } catch {
                throw .recovered("an admission record cannot be read: \(error.reason)")
            }
        }
        book.restore(records)
        return book
    }

    /// Rebuilds one fragment: its ledger, how far the head is behind it, and whether the live value can be kept.
    func recoveredFragment(_ fragment: FragmentIndex, _ recovered: Recovered) throws(StartError) -> FragmentState {
        var shape = configuration.fragments[fragment.value]
        shape.gatherMembersMax = configuration.charter.gatherMembersMax
        shape.keepsFeedback = configuration.charter.encoding.ownerFeedback > 0
        shape.countedTokensMax = CommittedTokens.most(configuration.charter)
        let head = recovered.heads[fragment.value]
        var finals: [Final] = []
        for bytes in recovered.finals[fragment.value] {
            do { finals.append(try Final(bytes: bytes, in: context)) } catch {
                throw .recovered("fragment \(fragment.value), final commit \(finals.count + 1): \(error.reason)")
            }
        }
        let genesis = head.round.value == 0 ? head.digest : finals.first?.value.base
        guard let genesis else { throw .recovered("fragment \(fragment.value) has a head but no ledger") }
        var ledger = Ledger(
            fragment: fragment, shape: shape, context: context, genesisHead: genesis, founder: configuration.firstVoter)
        for final in finals {
            do { try ledger.append(recorded: final) } catch {
                throw .recovered("fragment \(fragment.value): \(error.reason)")
            }
        }
        guard ledger.head(after: head.round) == head.digest else {
            throw .recovered("fragment \(fragment.value): the head of round \(head.round.value) is not the ledger's")
        }
        let liveBase = recovered.liveBases[fragment.value]
        let isFresh = liveBase == nil && head.round.value == 0
        // Where means come late, the next contribution is measured from an earlier head than the newest. At the start two
        // rounds are measured from the same head: then nothing tells whether the live value's steps are in the first.
        let mode = configuration.charter.syncMode
        let next = mode.measuredFrom(head.round.next)
        let start = liveBase == head.digest ? head.round : next
        // What commits settled of the residual was in memory until the next snapshot: without it the saved one is sent twice.
        let keepsResidual = configuration.charter.encoding.feedback > 0
        let isCertain = start == head.round || !keepsResidual && next != mode.measuredFrom(head.round)
        let restsOnLedger = isFresh || isCertain && liveBase != nil && liveBase == ledger.head(after: start)
        return FragmentState(
            index: fragment, shape: shape, ledger: ledger, durableRound: ledger.tip.round, head: head.round,
            headDigest: head.digest,
            live: .init(
                isUsable: restsOnLedger && head.round == ledger.tip.round, start: start,
                shareStart: recovered.progress),
            cycleStart: (recovered.progress.steps, now))
    }
}
