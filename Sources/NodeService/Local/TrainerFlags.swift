import Numerics

/// The precision that `--dtype` names; nil takes the one that trains faster on this processor.
func precision(_ flag: String?) throws(UserError) -> Precision {
    guard let flag else { return .fastest }
    guard let precision = Precision(rawValue: flag) else {
        throw UserError("--dtype is '\(flag)'", cure: "Choose f32 or bf16", exitCode: .usage)
    }
    return precision
}
