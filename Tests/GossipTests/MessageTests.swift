import ClusterModel
import Gossip
import Testing
import WireFormat

// Messages as bytes: they come back as they were, stay small, and survive values that a newer version
// invents.

@Suite struct MessageTests {
    /// A payload as large as the machine makes them.
    static var fullPayload: GossipPayload {
        let accusers = (0..<GossipLimits.accusers).map { NodeID(.max - UInt64($0)) }
        return GossipPayload(
            incarnation: .greatest, wantsObservations: true,
            updates: (0..<GossipLimits.updates).map {
                MemberUpdate(
                    node: NodeID(.max - UInt64($0)), state: .suspect, incarnation: .greatest,
                    accusers: accusers)
            },
            observations: (0..<GossipLimits.observations).map { index in
                var reading = EndpointReading(
                    endpoint: EndpointName(String(repeating: "e", count: GossipLimits.endpointNameBytes)),
                    health: .moduleUnavailable, latencyMicroseconds: .max, queueDepth: .max)
                reading.lastError = String(repeating: "x", count: GossipLimits.errorBytes)
                return EndpointObservation(
                    reading, node: NodeID(.max), incarnation: .greatest, sequence: .max - UInt64(index))
            },
            digests: (0..<GossipLimits.digests).map {
                ObservationDigest(node: NodeID(.max - UInt64($0)), value: .max)
            })
    }

    @Test(arguments: [
        GossipMessage.ping(sequence: .max, payload: fullPayload),
        .acknowledgement(sequence: 1, payload: fullPayload),
        .pingRequest(sequence: .max, target: NodeID(.max), payload: fullPayload),
        .negativeAcknowledgement(sequence: 3, payload: GossipPayload(incarnation: Incarnation(1))),
        .news(payload: fullPayload),
    ])
    func aMessageComesBackAsItWasAndStaysSmall(message: GossipMessage) throws {
        let bytes = try CBOREncoder.encode(message)
        #expect(try CBORDecoder.decode(GossipMessage.self, from: bytes) == message)
        #expect(bytes.count <= GossipLimits.encodedBytes)
    }

    @Test func aHealthOfANewerVersionIsUnknown() throws {
        struct Newer: Encodable { var health = "overheated" }
        struct Mine: Decodable { var health: EndpointHealth }
        #expect(try CBORDecoder.decode(Mine.self, from: CBOREncoder.encode(Newer())).health == .unknown)
        for health in EndpointHealth.allCases {
            let bytes = try CBOREncoder.encode([health])
            #expect(try CBORDecoder.decode([EndpointHealth].self, from: bytes) == [health])
        }
    }

    @Test func anErrorTextIsCutBetweenCharacters() {
        let text = String(repeating: "ü", count: 79) + "🇨🇭" + "tail"
        let reading = EndpointReading(endpoint: EndpointName("a"), health: .ready, lastError: text)
        #expect(reading.lastError == String(repeating: "ü", count: 79))
    }

    @Test func allMessagesOfARunningClusterStaySmall() {
        var network = GossipNetwork(count: 7, seed: 5)
        var largest = 0
        let box = Box()
        network.onSend = { box.messages.append($0) }
        network.run(.seconds(2))
        for node in 1...7 as ClosedRange<UInt64> {
            network.step(.observed(ObservationTests.readings(64)), on: node)
        }
        network.run(.seconds(3))
        for message in box.messages {
            largest = max(largest, (try? CBOREncoder.encode(message).count) ?? .max)
        }
        print("7 nodes, 64 endpoints each: largest message \(largest) bytes")
        #expect(largest <= GossipLimits.encodedBytes)
    }

    private final class Box { var messages: [GossipMessage] = [] }
}
