package import JSONText
import PeerNet
import Transport

/// `atoll bench net`: one connection against this machine's limits, one on a shaped link with heartbeats beside it, and
/// the caps. Everything stays on 127.0.0.1.
package struct LocalNetBench: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Seconds on the shaped link, after the first five.
        package var seconds = 30
        /// The shaped link's rate.
        package var rate = "20 Mbit/s"
        /// Its round trip, in milliseconds.
        package var delay = "150ms"

        /// Asks for the defaults.
        package init() {}
    }

    /// One turn of everything that shares a limit, in bytes per second.
    package struct Round: Sendable {
        /// ChaCha20-Poly1305 on one core, and TCP on loopback.
        package var cipher: Double
        package var loopback: Double
        /// Responses over one encrypted connection.
        package var connection: Double

        /// What a side could do at best: each byte is enciphered and passes the system once.
        package var limit: Double { 1 / (1 / cipher + 1 / loopback) }
        /// What was reached of it.
        package var share: Double { connection / limit }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// By share of the limit, least first.
        package var rounds: [Round]
        /// The shaped link: rate in bytes per second, round trip, and the share that full segments leave to payload.
        package var rate: Int
        package var delayMilliseconds: Int
        package var payloadShare: Double
        /// Bytes of the response per second on it.
        package var goodput: Double
        /// What heartbeats took beyond the idle path, in milliseconds, sorted: beside the response and against it.
        package var heartbeats: [Double]
        package var heartbeatsBack: [Double]
        /// Many responses over links that bound each connection, bytes per second: on the first, and once there are more.
        package var spreadFirst: Double
        package var spreadLast: Double
        /// The caps that were tried, in bytes per second, and what came through.
        package var cap: Int
        package var cappedUpload: Double
        package var cappedDownload: Double

        private var middle: Round { rounds[rounds.count / 2] }
        private var goodputShare: Double { goodput / Double(rate) }

        static func percentile(_ sorted: [Double], _ share: Double) -> Double {
            sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
        }

        package var text: String {
            func megabytes(_ rate: Double) -> String { fixed(rate / 1e6, 1) + " MB/s" }
            func megabits(_ rate: Double) -> String { fixed(rate * 8 / 1e6, 1) + " Mbit/s" }
            func percent(_ share: Double) -> String { fixed(100 * share, 1) + " %" }
            func delays(_ sorted: [Double]) -> String {
                "+\(fixed(Self.percentile(sorted, 0.5), 1)) ms median, +\(fixed(Self.percentile(sorted, 0.99), 1)) p99, "
                    + "+\(fixed(sorted.last ?? 0, 1)) greatest, of \(sorted.count)"
            }
            let link = BitRate(bytesPerSecond: rate)?.description ?? "\(rate) B/s"
            return """
                cipher            \(megabytes(middle.cipher)) (ChaCha20-Poly1305 of libsodium, one core)
                loopback          \(megabytes(middle.loopback)) (plain TCP, one thread a side)
                limit of a side   \(megabytes(middle.limit)) (1 / (1 / cipher + 1 / loopback))
                one connection    \(megabytes(middle.connection)), \(percent(middle.share)) of the limit (\(rounds.count) \
                rounds: \(percent(rounds[0].share)) to \(percent(rounds[rounds.count - 1].share)))
                link              \(link), \(delayMilliseconds) ms round trip, headers of segments included
                one response      \(fixed(goodput * 8 / 1e6, 2)) Mbit/s, \(percent(goodputShare)) of the rate \
                (headers leave \(percent(payloadShare)))
                heartbeats        \(delays(heartbeats))
                against it        \(delays(heartbeatsBack))
                each bounded      \(megabits(spreadFirst)) on the first connection, \(megabits(spreadLast)) once more are open
                upload cap        \(percent(cappedUpload / Double(cap))) of \(megabytes(Double(cap)))
                download cap      \(percent(cappedDownload / Double(cap))) of \(megabytes(Double(cap)))
                """
        }

        package var json: JSONValue {
            [
                "cipher_bytes_per_second": .number(middle.cipher),
                "loopback_bytes_per_second": .number(middle.loopback),
                "limit_bytes_per_second": .number(middle.limit),
                "connection_bytes_per_second": .number(middle.connection), "share_of_limit": .number(middle.share),
                "shares_of_limit": .array(rounds.map { .number($0.share) }),
                "link_bytes_per_second": .integer(Int64(rate)),
                "link_round_trip_ms": .integer(Int64(delayMilliseconds)), "goodput_bytes_per_second": .number(goodput),
                "goodput_share": .number(goodputShare), "heartbeats": .integer(Int64(heartbeats.count)),
                "heartbeat_extra_ms_median": .number(Self.percentile(heartbeats, 0.5)),
                "heartbeat_extra_ms_p99": .number(Self.percentile(heartbeats, 0.99)),
                "heartbeat_extra_ms_max": .number(heartbeats.last ?? 0),
                "heartbeat_back_extra_ms_max": .number(heartbeatsBack.last ?? 0),
                "bounded_first_bytes_per_second": .number(spreadFirst),
                "bounded_last_bytes_per_second": .number(spreadLast),
                "cap_bytes_per_second": .integer(Int64(cap)),
                "upload_share_of_cap": .number(cappedUpload / Double(cap)),
                "download_share_of_cap": .number(cappedDownload / Double(cap)),
            ]
        }
    }

    private static let rounds = 7
    /// A router's queue that is neither short nor bloated.
    private static let queue: Duration = .milliseconds(50)
    private static let settling: Duration = .seconds(5)
    private static let cap = 5_000_000

    /// Measures, the limits and the connection by turns, so that they see the same machine.
    package static func run(_ request: Request, progress: @escaping @Sendable (String) -> Void) async throws -> Report {
        try checkFlag("--seconds", request.seconds, in: 1...3600)
        let digits = request.delay.hasSuffix("ms") ? request.delay.dropLast(2) : request.delay[...]
        guard let delay = Int(digits), (0...10_000).contains(delay) else {
            throw UserError("--delay must be milliseconds such as 150ms", cure: "Give 0ms to 10000ms", exitCode: .usage)
        }
        guard let rate = BitRate(request.rate) else {
            throw UserError("--rate must be \(BitRate.expectation)", cure: "Correct it", exitCode: .usage)
        }
        do {
            var rounds: [Round] = []
            for number in 1...Self.rounds {
                progress("against this machine's limits: round \(number) of \(Self.rounds)")
                rounds.append(try await round())
            }
            rounds.sort { $0.share < $1.share }
            let shape = LinkShape(
                bytesPerSecond: Double(rate.bytesPerSecond),
                oneWayDelay: .milliseconds(delay) / 2, queue: queue)
            progress("on the shaped link: some \(request.seconds + 7) seconds")
            let shaped = try await ConnectionBench().shaped(
                shape, settling: settling, for: .seconds(request.seconds))
            progress("where each connection is bounded: some 45 seconds")
            let spread = try await ConnectionBench().spread(shape, for: .seconds(36))
            progress("under caps: some 10 seconds")
            let upload = try await ConnectionBench(uploadBytesPerSecond: cap).throughput(for: .seconds(5))
            let download = try await ConnectionBench(downloadBytesPerSecond: cap).throughput(for: .seconds(5))
            return Report(
                rounds: rounds, rate: rate.bytesPerSecond, delayMilliseconds: delay,
                payloadShare: LinkShape.payloadShare, goodput: shaped.bytesPerSecond,
                heartbeats: shaped.extraDelays.map { $0.inSeconds * 1000 },
                heartbeatsBack: shaped.extraDelaysBack.map { $0.inSeconds * 1000 }, spreadFirst: spread.first,
                spreadLast: spread.last, cap: cap,
                cappedUpload: upload.bytesPerSecond, cappedDownload: download.bytesPerSecond)
        } catch { throw UserError(wrapping: error) }
    }

    private static func round() async throws -> Round {
        guard let loopback = MachineLimits.loopbackRate(for: .milliseconds(500)) else {
            throw UserError(
                "no socket can be opened on 127.0.0.1", cure: "Check the limit of open files",
                exitCode: .temporaryFailure)
        }
        return Round(
            cipher: MachineLimits.cipherRate(for: .milliseconds(300)), loopback: loopback,
            connection: try await ConnectionBench().throughput(for: .milliseconds(800)).bytesPerSecond)
    }
}
