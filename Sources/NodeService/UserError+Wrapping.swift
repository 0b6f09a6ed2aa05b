import Checkpoint
import Corpus
import Experts
import LanguageModel
import OuterSync
import Swarm
import Transport

extension UserError {
    /// Turns an error of any module into one for people.
    init(wrapping error: any Error) {
        switch error {
        case let error as UserError: self = error
        case let error as FileError:
            self = .system("\(error.operation.rawValue) \(error.path)", errno: error.reason.number)
        case let error as CheckpointError: self.init(checkpoint: error)
        case let error as CorpusError: self.init(corpus: error)
        case let error as ModelError: self.init(model: error)
        case let error as TransportError: self.init(transport: error)
        case let error as YAMLProblem: self.init("\(error)", cure: "Mend the file", exitCode: .badData)
        case let error as CharterError:
            self.init(
                "the swarm's charter cannot be used: \(error)", cure: "Correct the specification", exitCode: .badData)
        case let error as InviteError:
            self.init("\(error)", cure: "Copy the whole line that 'atoll swarm invite' prints", exitCode: .badData)
        case let error as NodeCore.StartError:
            self.init("\(error)", cure: "Leave the swarm with --delete and join it again", exitCode: .badData)
        case let error as MergeError: self.init(merge: error)
        case let error as RecordProblem:
            self.init("\(error)", cure: "Choose another name, or fewer branches and experts", exitCode: .usage)
        case let error as StorageFailure:
            self.init(error.reason, cure: "Free some space or check the disk, and run again", exitCode: .inputOutput)
        default: self.init("\(error)", cure: "", exitCode: .internalBug)
        }
    }

    private init(transport error: TransportError) {
        switch error {
        case .addressInUse(let address):
            self.init(
                "\(address) is in use by another process", cure: "Choose another port, or leave --port out",
                exitCode: .unavailable)
        case .unsupportedAddress:
            self.init("\(error)", cure: "Write for example /ip4/0.0.0.0/tcp/4650", exitCode: .usage)
        case .controlSocketInUse(let path):
            self.init(
                "another node runs in this home (\(path))", cure: "Stop it with atoll node stop", exitCode: .unavailable
            )
        default: self.init("\(error)", cure: "Check the network and the addresses", exitCode: .unavailable)
        }
    }
}
