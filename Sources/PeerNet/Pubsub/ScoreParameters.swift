/// Weights and decays of peer scores, section "Peer Scoring" of gossipsub v1.1. Decays are per interval of one second; a
/// half-life of n seconds is 0.5^(1/n).
///
/// A good peer reaches at most +30 (`topicScoreMax`), after a quarter of an hour in the mesh and steady deliveries. With
/// that in hand, four invalid messages within minutes, or ten offences beyond the free six within one minute, still end
/// below the graylist threshold; two invalid messages of a newcomer end its gossip. Nothing positive can be earned
/// without delivering valid messages first.
package struct ScoreParameters: Sendable {
    /// Weights of one topic.
    package struct TopicWeights: Sendable {
        /// Factor of the topic in the whole.
        package var weight = 1.0
        /// P1, time in mesh: per quantum, up to a number of quanta. Small: being there is little merit.
        package var timeInMeshWeight = 0.01
        package var timeInMeshQuantum: Duration = .seconds(1)
        package var timeInMeshMax = 900.0
        /// P2, messages delivered first; half-life two minutes.
        package var firstDeliveriesWeight = 0.5
        package var firstDeliveriesDecay = 0.994_240_5
        package var firstDeliveriesMax = 40.0
        /// P3, deficit of deliveries in the mesh, squared. Off: it punishes everyone in a topic that is silent between
        /// bursts, as those of a training network are. Half-life of the counter one minute.
        package var meshDeliveriesWeight = 0.0
        package var meshDeliveriesDecay = 0.988_514_0
        package var meshDeliveriesMax = 100.0
        package var meshDeliveriesThreshold = 20.0
        package var meshDeliveriesWindow: Duration = .milliseconds(10)
        package var meshDeliveriesActivation: Duration = .seconds(5)
        /// P3b, deficit with which a peer left the mesh. Off with P3.
        package var meshFailureWeight = 0.0
        package var meshFailureDecay = 0.988_514_0
        /// P4, invalid messages, squared; half-life ten minutes.
        package var invalidWeight = -10.0
        package var invalidDecay = 0.998_845_4

        /// The defaults.
        package init() {}
    }

    /// Weights of topics without their own.
    package var defaultTopic = TopicWeights()
    /// Topics with their own weights.
    package var topics: [Topic: TopicWeights] = [:]
    /// The most that all topics together can add.
    package var topicScoreMax = 30.0
    /// P5, what the application says about a peer.
    package var applicationWeight = 1.0
    /// P6, peers of one IP group beyond the threshold, squared.
    package var groupWeight = -5.0
    package var groupThreshold = 10
    /// IP groups that do not count, such as known NATs; loopback never does.
    package var groupsExempt: Set<String> = []
    /// P7, misbehaviour beyond what lost packets and crossing messages explain, squared; half-life one minute.
    package var behaviourWeight = -10.0
    package var behaviourThreshold = 6.0
    package var behaviourDecay = 0.988_514_0
    /// Time between two decays; counters below the last value become zero.
    package var decayInterval: Duration = .seconds(1)
    package var decayToZero = 0.01
    /// How long the score of a peer that left is kept, so that reconnecting does not wash it.
    package var retention: Duration = .seconds(3600)

    /// Below: neither gossip to the peer nor heed to its gossip.
    package var gossipThreshold = -10.0
    /// Below: own messages are not flooded to the peer.
    package var publishThreshold = -50.0
    /// Below: nothing of the peer is read, and it is disconnected.
    package var graylistThreshold = -80.0
    /// At least: peers that the peer suggests are considered. Above what can be had without deliveries.
    package var acceptExchangeThreshold = 10.0
    /// A mesh whose median is below looks for better peers.
    package var opportunisticGraftThreshold = 1.0

    /// The defaults.
    package init() {}

    /// The weights of a topic.
    func weights(of topic: Topic) -> TopicWeights { topics[topic] ?? defaultTopic }

    /// Traps on numbers that contradict each other.
    func check() {
        precondition(
            0 > gossipThreshold && gossipThreshold >= publishThreshold && publishThreshold >= graylistThreshold,
            "thresholds must be 0 > gossip ≥ publish ≥ graylist")
        precondition(
            acceptExchangeThreshold >= 0 && opportunisticGraftThreshold >= 0,
            "peers below zero are neither believed nor wanted")
        precondition(groupWeight <= 0 && behaviourWeight <= 0, "penalties cannot be positive")
        for weights in [defaultTopic] + topics.values {
            precondition(
                weights.meshDeliveriesWeight <= 0 && weights.meshFailureWeight <= 0 && weights.invalidWeight <= 0,
                "penalties cannot be positive")
        }
    }
}
