/// Bounds on what one yamux session holds; a peer reaches none of them by keeping to the protocol.
package struct YamuxLimits: Hashable, Sendable {
    /// Credit that each direction of a stream starts with, by the yamux specification.
    package static let initialWindowBytes = 256 << 10
    /// Streams the peer may have open; one more is reset. Below rust's 512, so that any peer lives with ours.
    package var inboundStreamsMax = 256
    /// Streams beyond it that are reset within `refusalPeriod`; one more ends the session.
    package var refusedStreamsMax = 1024
    static let refusalPeriod: Duration = .seconds(10)
    /// Streams this side may have open; one more is refused to the caller.
    package var outboundStreamsMax = 256
    /// Frames that wait for the socket while the peer opens further streams; one more ends the session.
    package var waitingFramesMax = 2048
    /// Answers to pings that wait for the socket; further pings are not answered.
    package var waitingPongsMax = 32
    /// Largest receive window that tuning gives one stream.
    package var streamWindowBytesMax = 16 << 20
    /// Sum over all streams of what tuning and larger first windows gave beyond the initial credit.
    package var grantedBytesMax = 64 << 20
    /// Longest body of a data frame, so that frames of other streams come between.
    package var frameBodyBytesMax = 16 << 10
    /// A stream whose queue was filled beyond it reports when it is below it again.
    package var writableBelowBytes = 64 << 10

    /// The defaults.
    package init() {}
}

/// Which streams send first.
package enum StreamPriority: Hashable, Sendable {
    /// Small messages that others wait for; always before bulk.
    case control
    /// Payloads; they share what control leaves, a frame each in turn.
    case bulk
}
