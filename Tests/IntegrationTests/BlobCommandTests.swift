import Foundation
import Testing

/// `atoll bench blob`: real nodes on 127.0.0.1. In a process of its own, because answers are served by the default
/// executor, which tests that compute hold up.
@Suite struct BlobCommandTests {
    private struct Report: Decodable {
        struct Cap: Decodable {
            var error: Double
            var shares: [Double]
        }

        var verified, liar_named, honest_named: Bool
        var chunks_by_giver: [Int]
        var chunks_fetched_twice: Int
        var caps: [Cap]
    }

    @Test func `A blob comes whole from three givers though one is killed and one lies, and caps hold`() throws {
        let result = try AtollProcess.run("bench", "blob", "--mib", "24", "--json")
        try #require(result.status == 0, "\(result.error)")
        let report = try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
        #expect(report.verified && report.liar_named && !report.honest_named, "\(report)")
        #expect(report.chunks_fetched_twice == 0 && report.chunks_by_giver.allSatisfy { $0 > 0 }, "\(report)")
        #expect(report.caps.count == 2)
        for cap in report.caps {
            #expect(cap.error < 0.05, "\(cap)")
            #expect(cap.shares.allSatisfy { abs(3 * $0 - 1) < 0.15 }, "\(cap)")
        }
    }
}
