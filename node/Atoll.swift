import ArgumentParser

/// The `atoll` command.
@main
struct Atoll: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "atoll", abstract: "Peer-to-peer, low-bandwidth training of one language model.")
}
