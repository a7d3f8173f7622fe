// Connections that end before they were anything: they must not occupy places among the unauthenticated ones until
// the handshake's deadline.

import ClusterModel
import Testing

@testable import ClusterTransport

@Suite struct ResetTests {
    @Test func connectionThatIsResetInTheMiddleOfTLSIsGivenUpAtOnce() async throws {
        let authority = try TestAuthority()
        var settings = TransportSettings()
        // Longer than the test waits: only the reset itself can end the connection.
        settings.handshakeDeadline = .seconds(3600)
        let node = try TestNode.start(
            9, peers: [dialer(1)], identity: try authority.identity(of: 9), settings: settings)
        defer { node.transport.stop() }
        for count in 1...200 {
            do {
                let client = try #require(RawClient(port: node.port))
                client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
                client.resetOnClose()
            }
            #expect(try await eventually { node.recorder.rejections.count == count })
        }
    }
}
