import ClusterModel
import Testing
import WireFormat

@testable import TokenHostLink

// Frames arrive in any pieces; what is not a frame of this protocol ends the link.

private let messages: [TokenHostMessage] = [
    .hello(TokenHostHello(process: 42, configurationDigest: .max)),
    .request(id: 7, request: .scan(labelPrefix: "CMS MK "), deadlineMilliseconds: 10_000),
    .reply(id: 7, outcome: .success(.objects([]))),
    .reply(
        id: 8,
        outcome: .failure(EndpointFailure(.returnValue, function: "C_Sign", returnValue: 5, detail: "x"))),
    .state(.failed(EndpointFailure(.tokenNotFound, detail: "gone"))),
    .ping(sequence: 1),
    .pong(
        sequence: 1,
        vitals: TokenHostVitals(
            busyThreads: 1, stuckThreads: 0, queuedRequests: 2, longestCallMilliseconds: 3,
            residentKibibytes: 4)),
]

private func frame(_ message: TokenHostMessage) throws -> [UInt8] {
    try #require(TokenHostFrame.encode(message, bound: TokenHostLimits.requestBytes))
}

@Suite struct MessageTests {
    @Test func messagesSurviveAnyCutting() throws {
        let stream = try messages.flatMap(frame)
        for size in [1, 3, 64, stream.count] {
            var reader = TokenHostFrameReader(bound: TokenHostLimits.requestBytes)
            var read: [TokenHostMessage] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                reader.append(stream[start..<min(start + size, stream.count)])
                while let message = try reader.next() { read.append(message) }
            }
            #expect(read == messages)
        }
    }

    @Test func oversizedFrameIsRefusedByItsHeadAlone() {
        var reader = TokenHostFrameReader(bound: 100)
        reader.append([0, 0, 0, 101])
        #expect(throws: TokenHostProtocolError.frameTooLong(bytes: 101, bound: 100)) { try reader.next() }
    }

    @Test func garbageInAFrameIsRefused() {
        var reader = TokenHostFrameReader(bound: 100)
        reader.append([0, 0, 0, 2, 0xFF, 0xFF])
        #expect(throws: TokenHostProtocolError.malformed) { try reader.next() }
    }

    @Test func largestScanFitsIntoAReply() {
        let object = KeyObject(
            label: String(repeating: "x", count: EndpointLimits.attributeBytes),
            identity: [UInt8](repeating: 1, count: EndpointLimits.attributeBytes), algorithm: .aes256,
            isSensitive: true, isExtractable: true)
        let reply = TokenHostMessage.reply(
            id: .max,
            outcome: .success(.objects(Array(repeating: object, count: EndpointLimits.scanObjects))))
        #expect(TokenHostFrame.encode(reply, bound: TokenHostLimits.replyBytes) != nil)
    }

    @Test func onlyTheRightKindAnswersARequest() {
        #expect(EndpointRequest.scan(labelPrefix: "").isAnswered(by: .objects([])))
        #expect(!EndpointRequest.scan(labelPrefix: "").isAnswered(by: .done))
        #expect(EndpointRequest.logIn.isAnswered(by: .done))
    }
}
