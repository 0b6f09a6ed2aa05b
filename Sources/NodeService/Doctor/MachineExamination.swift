import Numerics

/// Looks at processor and memory.
enum MachineExamination {
    /// What training takes per parameter, in bytes: value, gradient and two moments, and half as much again.
    private static let bytesPerParameter = 24

    static func findings(configuration: NodeConfiguration?, parameterCount: Int?) -> [Finding] {
        processor(ProcessorDescription(), threads: configuration?.threads ?? 0) + memory(parameterCount)
    }

    static func processor(_ processor: ProcessorDescription, threads: Int) -> [Finding] {
        let count = processor.processorCount
        if processor.instructionSet == .baseline {
            return [
                .warning(
                    .processor, "no kernels for this processor's vector units: training is several times slower",
                    cure: "Use a processor with AVX2 (any x86 server since 2015)")
            ]
        }
        if threads > count {
            return [
                .warning(
                    .processor, "\(threads) training threads on \(count) processors slow each other down",
                    cure: "Set threads to 0 in config.yaml, which takes one per processor")
            ]
        }
        // OpenBLAS says first its version and then how it was built.
        let blas = processor.openBLAS.split(separator: " ").prefix(2).joined(separator: " ")
        let units = processor.hasMatrixUnits ? ", AMX through oneDNN" : ""
        let used = threads == 0 ? count : threads
        return [
            .ok(
                .processor,
                "kernels for \(processor.instructionSet.rawValue)\(units), \(blas), \(used) of \(count) processors")
        ]
    }

    private static func memory(_ parameterCount: Int?) -> [Finding] {
        guard let available = availableBytes() else { return [] }
        let needed = UInt64(parameterCount ?? 0) * UInt64(bytesPerParameter) + (64 << 20)
        let (have, want) = (NodeReport.bytes(available), NodeReport.bytes(needed))
        guard available >= needed else {
            return [
                .fault(
                    .memory, "\(have) of memory are free, and training needs at least \(want)",
                    cure: "End other programs, or train a smaller model")
            ]
        }
        return [.ok(.memory, "\(have) free, at least \(want) needed")]
    }

    /// What the system, and this process's group, can still give.
    private static func availableBytes() -> UInt64? {
        let line = SystemText.lines("/proc/meminfo").first { $0.hasPrefix("MemAvailable:") }
        guard let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap({ UInt64($0) }) else { return nil }
        let system = kibibytes << 10
        let group = "/sys/fs/cgroup/memory"
        guard let limit = SystemText.lines("\(group).max").first.flatMap({ UInt64($0) }),
            let used = SystemText.lines("\(group).current").first.flatMap({ UInt64($0) })
        else { return system }
        return min(system, limit > used ? limit - used : 0)
    }
}
