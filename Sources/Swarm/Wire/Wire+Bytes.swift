// The one file that names Foundation's byte type: generated protobuf code uses it for `bytes` fields.
internal import FoundationEssentials

/// Bytes as a generated message wants them.
func wire(_ bytes: [UInt8]) -> Data { Data(bytes) }

/// Bytes out of a generated message.
func array(_ bytes: Data) -> [UInt8] { [UInt8](bytes) }
