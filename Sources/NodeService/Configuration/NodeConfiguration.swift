/// What one node is told by its owner: where to listen, how many threads to use, what text to train on.
/// Lives in `config.yaml` of the node's home; a swarm's charter never contains any of it.
package struct NodeConfiguration: Equatable, Sendable {
    /// A named set of training text.
    package struct Domain: Equatable, Sendable {
        /// The name, as shown in logs and tables.
        package var name: String
        /// Globs; `**` crosses folders.
        package var globs: [String]
        /// The share of training windows, relative to the other domains'; above 0.
        package var weight: Double

        /// Wraps the three.
        package init(name: String, globs: [String], weight: Double = 1) {
            self.name = name
            self.globs = globs
            self.weight = weight
        }
    }

    /// Multiaddr to listen on, nil for all interfaces and the home's last port.
    package var listen: String?
    /// The key file of the private network to which the node keeps.
    package var privateNetwork: String?
    /// Training threads; 0 takes one per core.
    package var threads: Int
    /// The node's text.
    package var domains: [Domain]
    /// Caps on what the node sends and receives, all peers together; nil: none.
    package var upload: BitRate?
    package var download: BitRate?
    /// Caps on the blobs that are sent: to all peers together, and to each; nil: what the links carry.
    package var serve: BitRate?
    package var servePerPeer: BitRate?

    /// Wraps the fields.
    package init(
        listen: String? = nil, privateNetwork: String? = nil, threads: Int = 0, domains: [Domain] = [],
        upload: BitRate? = nil, download: BitRate? = nil
    ) {
        self.listen = listen
        self.privateNetwork = privateNetwork
        self.threads = threads
        self.domains = domains
        self.upload = upload
        self.download = download
    }

    /// Reads `config.yaml`; unknown and misspelt keys are errors.
    package static func parse(_ text: String, name: String) throws(YAMLProblem) -> NodeConfiguration {
        var mapping = try YAMLMapping.parse(text, name: name)
        var configuration = NodeConfiguration()
        configuration.listen = try mapping.string("listen")
        configuration.privateNetwork = try mapping.string("private_network")
        configuration.threads = try mapping.integer("threads", in: 0...1024) ?? 0
        configuration.upload = try mapping.rate("upload")
        configuration.download = try mapping.rate("download")
        configuration.serve = try mapping.rate("serve")
        configuration.servePerPeer = try mapping.rate("serve_per_peer")
        for var entry in try mapping.mappings("domains") ?? [] {
            guard let name = try entry.string("name"), !name.isEmpty else {
                throw YAMLProblem(description: "every entry of 'domains' needs a 'name'")
            }
            guard let globs = try entry.strings("globs"), !globs.isEmpty else {
                throw YAMLProblem(
                    description: "domain '\(name)' needs 'globs': a list of patterns such as /usr/include/**/*.h")
            }
            let weight = try entry.number("weight", in: 1e-6...1e6) ?? 1
            try entry.finish()
            configuration.domains.append(Domain(name: name, globs: globs, weight: weight))
        }
        try mapping.finish()
        guard Set(configuration.domains.map(\.name)).count == configuration.domains.count else {
            throw YAMLProblem(description: "\(name): two domains have the same name")
        }
        return configuration
    }

    /// The YAML text that `parse` reads back to the same value, with comments for its owner.
    package func yaml() -> String {
        var text = """
            # What this node does with its machine. Change it and run: atoll node stop; atoll node start

            # Where to listen; without it all interfaces and the home's last port.
            \(listen.map { "listen: \(Self.quoted($0))" } ?? "# listen: /ip4/0.0.0.0/tcp/4650")

            # A key file (atoll swarm key): only nodes with the same key are spoken to.
            \(privateNetwork.map { "private_network: \(Self.quoted($0))" } ?? "# private_network: network.key")

            # Training threads; 0 takes one per core.
            threads: \(threads)

            # Most that this node sends and receives, all peers together. A little below what the line can do keeps it free.
            \(upload.map { "upload: \($0)" } ?? "# upload: 20 Mbit/s")
            \(download.map { "download: \($0)" } ?? "# download: 100 Mbit/s")

            # Most of that for payloads and snapshots that others fetch: all of them together, and each.
            \(serve.map { "serve: \($0)" } ?? "# serve: 20 Mbit/s")
            \(servePerPeer.map { "serve_per_peer: \($0)" } ?? "# serve_per_peer: 5 Mbit/s")

            # What to train on: named domains, each a list of globs (** crosses folders). 'weight' is the share of windows.
            domains:

            """
        for domain in domains {
            text += "  - name: \(Self.quoted(domain.name))\n"
            text += "    globs: [\(domain.globs.map(Self.quoted).joined(separator: ", "))]\n"
            if domain.weight != 1 { text += "    weight: \(domain.weight)\n" }
        }
        if domains.isEmpty {
            text.removeLast("domains:\n".count)
            text += "# domains:\n#   - name: notes\n#     globs: [\"/home/me/notes/**/*.txt\"]\n"
        }
        return text
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// Domains that most machines have; `init` keeps those whose globs match something.
    package static let wellKnownDomains = [
        Domain(name: "c-headers", globs: ["/usr/include/**/*.h"]),
        Domain(
            name: "perl", globs: ["/usr/share/perl/**/*.pm", "/usr/share/perl5/**/*.pm", "/usr/share/perl/**/*.pl"]),
        Domain(name: "python", globs: ["/usr/lib/python3*/**/*.py", "/usr/lib/python3/**/*.py"]),
        Domain(
            name: "documentation",
            globs: ["/usr/share/doc/**/copyright", "/usr/share/doc/**/*.txt", "/usr/share/common-licenses/*"]),
    ]
}
