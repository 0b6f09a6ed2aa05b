import Checkpoint
import Logging
import PeerNet
import Swarm
import Transport

/// The peer store: where peers were reached, kept from one run to the next.
extension NodeDaemon {
    /// How often it is written while peers come and go.
    private static let peersSaveInterval: Duration = .seconds(60)
    /// Peers of earlier runs that a start begins with.
    private static let peersAtStartMax = 16

    /// Tells the core what pings say, whenever it looks at its links.
    func measureRoundTrips() async {
        for await _ in roundTrips.stream {
            for peer in await host.peers() {
                if let roundTrip = peer.roundTripTime { handle(.roundTrip(peer.peerID, roundTrip)) }
            }
        }
    }

    /// What the last run knew. The store is a help, not a need: one that is missing or damaged is begun anew.
    static func storedPeers(_ folder: SwarmFolder, logger: Logger) -> AddressBook {
        guard let bytes = try? DurableFile.read(folder.peersPath, byteCountMax: AddressBook.byteCountMax) else {
            return AddressBook()
        }
        do { return try AddressBook(bytes: bytes) } catch {
            logger.warning("\(folder.peersPath) is begun anew: \(error)")
            return AddressBook()
        }
    }

    /// Whom to dial first: those of the invite, then those of earlier runs.
    static func firstDials(_ invited: [PeerAddresses], _ stored: AddressBook) -> [PeerAddresses] {
        let known = Set(invited.map(\.peer))
        let others = stored.contacts(countMax: peersAtStartMax, near: []).filter { !known.contains($0.peer) }
        return invited + others.map { PeerAddresses(peer: $0.peer, addresses: $0.addresses) }
    }

    /// Writes the store if it has not been written lately.
    func savePeersNowAndThen() async {
        let now = MonotonicClock().now
        guard now - lastPeersSave >= Self.peersSaveInterval else { return }
        lastPeersSave = now
        await savePeers()
    }

    /// Writes the store.
    func savePeers() async {
        let bytes = await host.addressBook().encoded
        do { try await setup.disk.savePeers(bytes) } catch {
            logger.warning("the list of peers cannot be saved: \(error)")
        }
    }
}
