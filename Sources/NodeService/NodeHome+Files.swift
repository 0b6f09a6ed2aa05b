import Checkpoint
import Corpus
import Glibc
import PeerNet

extension NodeHome {
    /// What a person chose at `init`; nil takes the default, or keeps what is there.
    package struct Choices: Sendable {
        /// Multiaddr to listen on.
        package var listen: String?
        /// Training threads.
        package var threads: Int?
        /// The key file of a private network.
        package var privateNetwork: String?
        /// Text to train on.
        package var domains: [NodeConfiguration.Domain]

        /// Wraps the choices.
        package init(
            listen: String? = nil, threads: Int? = nil, privateNetwork: String? = nil,
            domains: [NodeConfiguration.Domain] = []
        ) {
            self.listen = listen
            self.privateNetwork = privateNetwork
            self.threads = threads
            self.domains = domains
        }
    }

    /// Makes identity and configuration where they are missing; choices replace what the configuration said.
    @discardableResult
    package func initialize(_ choices: Choices = Choices()) throws(UserError) -> HomeSummary {
        try checkSocketPath()
        if let listen = choices.listen { _ = try Self.listenAddress(listen) }
        if let threads = choices.threads, !(0...1024).contains(threads) {
            throw UserError(
                "--threads \(threads) is out of range", cure: "Give 0 (one per core) to 1024", exitCode: .usage)
        }
        return try Self.mapping {
            let claim = try HomeClaim(self)
            defer { claim.release() }
            do { return try createFiles(choices) } catch {
                claim.undo()
                throw error
            }
        }
    }

    /// The work of `initialize`, for commands that hold a claim on the home.
    @discardableResult
    func createFiles(_ choices: Choices = Choices()) throws -> HomeSummary {
        let identity = try loadOrCreateIdentity()
        let isThere = access(configurationPath, F_OK) == 0
        let found = isThere ? try loadConfiguration() : Self.defaultConfiguration()
        var configuration = found
        if let listen = choices.listen { configuration.listen = listen }
        if let threads = choices.threads { configuration.threads = threads }
        if let name = choices.privateNetwork { configuration.privateNetwork = Self.absolute(name) }
        _ = try loadNetworkKey(configuration)
        if !choices.domains.isEmpty { configuration.domains = choices.domains }
        // What nothing changes keeps its owner's comments.
        if !isThere || configuration != found {
            try DurableFile.write(Array(configuration.yaml().utf8), to: configurationPath)
        }
        return HomeSummary(
            path: path, peerID: identity.peerID.description, domains: configuration.domains.map(\.name))
    }

    /// The configuration of a fresh home: this machine's well-known text.
    static func defaultConfiguration() -> NodeConfiguration {
        NodeConfiguration(
            domains: NodeConfiguration.wellKnownDomains.filter {
                DomainSource(name: $0.name, patterns: $0.globs).matchesFiles
            })
    }

    /// Reads `NAME=GLOB` options; several with one name add up.
    package static func parseDomains(_ options: [String]) throws(UserError) -> [NodeConfiguration.Domain] {
        var domains: [NodeConfiguration.Domain] = []
        for option in options {
            guard let equals = option.firstIndex(of: "="), equals != option.startIndex,
                option.index(after: equals) != option.endIndex
            else {
                throw UserError(
                    "--domain \(option) is not NAME=GLOB", cure: "Write for example --domain notes='/home/me/**/*.txt'",
                    exitCode: .usage)
            }
            let (name, glob) = (String(option[..<equals]), String(option[option.index(after: equals)...]))
            if let index = domains.firstIndex(where: { $0.name == name }) {
                domains[index].globs.append(glob)
            } else {
                domains.append(NodeConfiguration.Domain(name: name, globs: [glob]))
            }
        }
        return domains
    }

    /// Checks a multiaddr to listen on.
    static func listenAddress(_ text: String) throws(UserError) -> Multiaddr {
        do {
            let address = try Multiaddr(text)
            if address.tcpEndpoint != nil, address.peerID == nil { return address }
        } catch {
            // Falls through to the one message for all that is wrong with an address.
        }
        throw UserError(
            "\(text) is not an address to listen on", cure: "Write for example /ip4/0.0.0.0/tcp/4650", exitCode: .usage)
    }

    func loadOrCreateIdentity() throws -> Identity {
        if access(identityPath, F_OK) != 0 {
            var seed = [UInt8](repeating: 0, count: 32)
            guard getentropy(&seed, seed.count) == 0, let identity = Identity(seed: seed) else {
                throw UserError("the system gives no random bytes", cure: "Check /dev/urandom", exitCode: .unavailable)
            }
            try DurableFile.write(identity.privateKeyProtobuf, to: identityPath, isPrivate: true)
            return identity
        }
        do {
            return try Identity(privateKeyProtobuf: try DurableFile.read(identityPath, byteCountMax: 4096))
        } catch let error as IdentityError {
            throw UserError(
                "\(identityPath) is not an identity: \(error)",
                cure: "Restore the file, or move the home away for a new one",
                exitCode: .badData)
        }
    }

    func loadConfiguration() throws -> NodeConfiguration {
        let bytes = try DurableFile.read(configurationPath, byteCountMax: 1 << 20)
        do {
            return try NodeConfiguration.parse(
                try YAMLMapping.text(bytes, name: configurationPath), name: configurationPath)
        } catch {
            throw UserError("\(error)", cure: "Mend the file, or delete it and run atoll init", exitCode: .badData)
        }
    }

    /// Turns whatever a module throws into a message for people.
    static func mapping<Value>(_ body: () throws -> Value) throws(UserError) -> Value {
        do { return try body() } catch { throw UserError(wrapping: error) }
    }
}

/// What `init` did.
package struct HomeSummary: Sendable {
    package var path: String
    package var peerID: String
    package var domains: [String]
}
