import Corpus
import Foundation
import Testing

@testable import NodeService

/// What `--data` means.
@Suite struct DataSelectionTests {
    @Test func namesAndWeightsAreTakenFromTheFront() throws {
        let sources = try DataSelection.parse([
            "a/*.txt", "x=b", "y:2.5=c", "x:3=d=e", "z:1e-3=f", "not a name=g", ":5=h", "/i:1=j",
        ])
        #expect(
            sources == [
                DomainSource(name: "data", patterns: ["a/*.txt", "not a name=g", ":5=h", "/i:1=j"]),
                DomainSource(name: "x", patterns: ["b", "d=e"], weight: 3),
                DomainSource(name: "y", patterns: ["c"], weight: 2.5),
                DomainSource(name: "z", patterns: ["f"], weight: 1e-3),
            ])
    }

    @Test(arguments: ["x:=a", "x:0=a", "x:-1=a", "x:nan=a", "x:inf=a", "x:1e7=a", "x:two=a", "x:1:2=a", "x=", "x:2="])
    func whatIsNoWeightOrNoPatternIsRefused(text: String) {
        do throws(UserError) {
            _ = try DataSelection.parse([text])
            Issue.record("\(text) was taken")
        } catch { #expect(error.exitCode == .usage && error.message.contains(text)) }
    }

    @Test func twoWeightsOfOneDomainAreRefused() throws {
        #expect(throws: UserError.self) { try DataSelection.parse(["x:2=a", "x:3=b"]) }
        #expect(try DataSelection.parse(["x:2=a", "x:2=b"])[0].weight == 2)
    }

    @Test func preparedFoldersStandForTheirDomains() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("atoll-data-\(getpid())")
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["x", "y"] {
            let path = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
            for index in 0..<40 {
                try Data(String(repeating: "\(name) \(index) ", count: 50).utf8)
                    .write(to: path.appendingPathComponent("\(index).txt"))
            }
        }
        let out = folder.appendingPathComponent("out").path
        let report = try LocalDataPreparation.run(
            LocalDataPreparation.Request(
                data: ["x=\(folder.path)/x", "y=\(folder.path)/y"], out: out, threads: 2)
        ) { _ in }
        #expect(report.domains.map(\.fileCount) == [40, 40])
        #expect(
            try DataSelection.parse([out, "y:2=\(out)"]) == [
                DomainSource(name: "x", patterns: [out]),
                DomainSource(name: "y", patterns: [out, out], weight: 2),
            ])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["out", "x", "y"])
        #expect(try LocalDataVerification.run(out) { _ in }.byteCount > 2 * 40 * 50)
    }
}
