import CUV
import Glibc
import PeerNet

/// An IP address and port in the system's form.
struct SocketAddress {
    private var storage = sockaddr_storage()

    /// Takes 4 or 16 address bytes; nil for any other count.
    init?(ipBytes: [UInt8], port: UInt16) {
        switch ipBytes.count {
        case 4:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: ipBytes) }
            copy(address)
        case 16:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: ipBytes) }
            copy(address)
        default: return nil
        }
    }

    /// The address and port of `/ip4|ip6/…/tcp/…`; nil for other shapes.
    init?(_ address: Multiaddr) {
        switch address.tcpEndpoint {
        case (.ip4(let bytes), let port)?, (.ip6(let bytes), let port)?: self.init(ipBytes: bytes, port: port)
        default: return nil
        }
    }

    /// Copies what the system gave; nil unless it is IPv4 or IPv6.
    init?(_ address: UnsafePointer<sockaddr>, port: UInt16? = nil) {
        let bytes = UnsafeRawPointer(address)
        switch CInt(address.pointee.sa_family) {
        case AF_INET:
            let value = bytes.loadUnaligned(as: sockaddr_in.self)
            let ip = withUnsafeBytes(of: value.sin_addr) { Array($0) }
            self.init(ipBytes: ip, port: port ?? UInt16(bigEndian: value.sin_port))
        case AF_INET6:
            let value = bytes.loadUnaligned(as: sockaddr_in6.self)
            let ip = withUnsafeBytes(of: value.sin6_addr) { Array($0) }
            self.init(ipBytes: ip, port: port ?? UInt16(bigEndian: value.sin6_port))
        default: return nil
        }
    }

    /// The local or remote address of a TCP handle.
    init?(of handle: StreamHandle, remote: Bool) {
        var storage = sockaddr_storage()
        var length = CInt(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                remote ? uv_tcp_getpeername(handle.tcp, $0, &length) : uv_tcp_getsockname(handle.tcp, $0, &length)
            }
        }
        guard status == 0 else { return nil }
        let address = withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0) }
        }
        guard let address else { return nil }
        self = address
    }

    /// Calls `body` with the system's view of the address.
    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>) -> R) -> R {
        withUnsafePointer(to: storage) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
    }

    /// The address without its port.
    var ipBytes: [UInt8]? {
        switch multiaddr?.tcpEndpoint?.host {
        case .ip4(let bytes)?, .ip6(let bytes)?: bytes
        case .dns?, nil: nil
        }
    }

    /// The address as `/ip4|ip6/…/tcp/…`.
    var multiaddr: Multiaddr? {
        withUnsafeBytes(of: storage) { bytes -> Multiaddr? in
            switch CInt(storage.ss_family) {
            case AF_INET:
                let value = bytes.loadUnaligned(as: sockaddr_in.self)
                return Multiaddr(
                    ipBytes: withUnsafeBytes(of: value.sin_addr) { Array($0) },
                    tcpPort: UInt16(bigEndian: value.sin_port))
            case AF_INET6:
                let value = bytes.loadUnaligned(as: sockaddr_in6.self)
                return Multiaddr(
                    ipBytes: withUnsafeBytes(of: value.sin6_addr) { Array($0) },
                    tcpPort: UInt16(bigEndian: value.sin6_port))
            default: return nil
            }
        }
    }

    private mutating func copy<Address>(_ address: Address) {
        withUnsafeMutableBytes(of: &storage) { target in
            withUnsafeBytes(of: address) { target.copyMemory(from: $0) }
        }
    }
}

/// Asks the system's resolver.
enum Resolver {
    /// One question: its request and who waits for the answer.
    private final class Question {
        let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
        let port: UInt16
        let done: ([SocketAddress], String?) -> Void
        init(port: UInt16, done: @escaping ([SocketAddress], String?) -> Void) {
            self.port = port
            self.done = done
        }
        deinit { request.deallocate() }
    }

    /// Answers kept of one name.
    private static let answersMax = 8
    /// Questions that may be open: whoever asked may have stopped waiting, but the system goes on.
    private static let questionsMax = 64

    /// Resolves `name` on libuv's thread pool; `done` gets addresses, or the reason why there are none. Loop thread.
    static func resolve(
        _ name: String, family: Multiaddr.Host.Family, port: UInt16, on loop: Loop,
        done: @escaping ([SocketAddress], String?) -> Void
    ) {
        guard loop.openQuestions < questionsMax else {
            return loop.whenIdle { done([], "too many names are being resolved") }
        }
        loop.openQuestions += 1
        let question = Question(port: port) { addresses, reason in
            loop.openQuestions -= 1
            done(addresses, reason)
        }
        let context = Unmanaged.passRetained(question)
        question.request.pointee.data = context.toOpaque()
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        switch family {
        case .any: hints.ai_family = AF_UNSPEC
        case .ip4: hints.ai_family = AF_INET
        case .ip6: hints.ai_family = AF_INET6
        }
        let status = uv_getaddrinfo(
            loop.uv, question.request,
            { request, status, result in
                guard let data = request?.pointee.data else { return }
                let question = Unmanaged<Question>.fromOpaque(data).takeRetainedValue()
                var addresses: [SocketAddress] = []
                var next = result
                while let entry = next?.pointee {
                    if addresses.count < Resolver.answersMax, let address = entry.ai_addr,
                        let address = SocketAddress(address, port: question.port)
                    {
                        addresses.append(address)
                    }
                    next = entry.ai_next
                }
                uv_freeaddrinfo(result)
                question.done(addresses, status == 0 ? nil : StreamHandle.reason(status))
            }, name, nil, &hints)
        if status != 0 {
            context.release()
            loop.whenIdle { question.done([], StreamHandle.reason(status)) }
        }
    }
}
