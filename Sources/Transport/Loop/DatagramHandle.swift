import CUV
import Glibc
import PeerNet

/// One libuv UDP socket for multicast. Owned by an actor on the loop, used there alone; keeps itself alive until its close
/// callback has run.
final class DatagramHandle {
    /// A datagram arrived, and from where; its bytes are valid during the call only.
    var onDatagram: ((UnsafeRawBufferPointer, SocketAddress) -> Void)?
    /// The handle is closed and freed.
    var onClosed: (() -> Void)?

    private let loop: Loop
    private let memory = UnsafeMutablePointer<uv_udp_t>.allocate(capacity: 1)
    private var isClosing = false

    /// Makes an unbound socket; nil if the system has no room for one.
    init?(on loop: Loop) {
        self.loop = loop
        guard uv_udp_init(loop.uv, memory) == 0 else {
            memory.deallocate()
            return nil
        }
        memory.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    private static func of(_ data: UnsafeMutableRawPointer?) -> DatagramHandle? {
        data.map { Unmanaged<DatagramHandle>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Binds beside others that share the port, as multicast DNS is meant to be; gives libuv's status.
    func bind(to address: SocketAddress, isIPv6: Bool) -> CInt {
        let flags = UV_UDP_REUSEADDR.rawValue | (isIPv6 ? UV_UDP_IPV6ONLY.rawValue : 0)
        return address.withSockaddr { uv_udp_bind(memory, $0, flags) }
    }

    /// Joins a group on one interface (its address, or `::%name` for IPv6); gives libuv's status.
    func join(_ group: String, interface: String) -> CInt {
        uv_udp_set_membership(memory, group, interface, UV_JOIN_GROUP)
    }

    /// Datagrams go to the link only (255 hops prove that), and to this machine's other nodes too.
    func limitToLink() {
        uv_udp_set_multicast_ttl(memory, 255)
        uv_udp_set_multicast_loop(memory, 1)
    }

    /// Sends to a group by one interface; what cannot be sent at once is lost, as datagrams may be.
    func send(_ bytes: [UInt8], to group: SocketAddress, interface: String) {
        guard uv_udp_set_multicast_interface(memory, interface) == 0 else { return }
        bytes.withUnsafeBytes { raw in
            // libuv takes a mutable pointer but only reads; the buffer outlives the call, which queues nothing.
            let base = UnsafeMutableRawPointer(mutating: raw.baseAddress)?.assumingMemoryBound(to: CChar.self)
            var buffer = uv_buf_init(base, CUnsignedInt(raw.count))
            _ = group.withSockaddr { uv_udp_try_send(memory, &buffer, 1, $0) }
        }
    }

    /// Starts to receive; gives libuv's status.
    func startReceiving() -> CInt {
        uv_udp_recv_start(
            memory,
            { handle, _, buffer in
                guard let owner = DatagramHandle.of(handle?.pointee.data) else { return }
                buffer?.pointee.base = owner.loop.readBuffer.baseAddress?.assumingMemoryBound(to: CChar.self)
                buffer?.pointee.len = owner.loop.readBuffer.count
            },
            { handle, count, buffer, address, _ in
                guard let owner = DatagramHandle.of(handle?.pointee.data), !owner.isClosing, count > 0,
                    let source = address.flatMap({ SocketAddress($0) }), let base = buffer?.pointee.base
                else { return }
                owner.onDatagram?(UnsafeRawBufferPointer(start: base, count: count), source)
            })
    }

    /// Closes the socket; `onClosed` follows.
    func close() {
        guard !isClosing else { return }
        isClosing = true
        onDatagram = nil
        let handle = UnsafeMutableRawPointer(memory).assumingMemoryBound(to: uv_handle_t.self)
        uv_close(handle) { handle in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<DatagramHandle>.fromOpaque(data).takeRetainedValue()
            owner.memory.deallocate()
            let done = owner.onClosed
            owner.onClosed = nil
            done?()
        }
    }
}
