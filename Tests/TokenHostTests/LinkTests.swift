import ClusterModel
import Foundation
import Testing

@testable import TokenHost
@testable import TokenHostLink

// What a token host does about links that don't behave, while it goes on serving those that do.

private extension TokenHostMessage {
    var isPong: Bool { if case .pong = self { true } else { false } }
}

@Suite struct LinkTests {
    @Test func misbehavingLinksAreCutOffAndOthersServed() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            let process = try host.process()
            var garbage = SystemRandomNumberGenerator()
            let misdeeds: [(RawClient) throws -> Void] = [
                { client in client.send((0..<4_096).map { _ in UInt8.random(in: 1...255, using: &garbage) })
                },
                { client in client.send([0xFF, 0xFF, 0xFF, 0xFF]) },
                { client in client.send([0, 0, 0, 1, 0xFF]) },
                { client in try client.send(.ping(sequence: 1)) },
                { client in
                    try client.send(.hello(TokenHostHello(version: 99, process: 1, configurationDigest: 0)))
                },
                { client in
                    try client.greet()
                    try client.send(.pong(sequence: 1, vitals: TokenHostVitals.none))
                },
                { client in client.send([0x00, 0x10, 0x00, 0x01]) },
            ]
            for misdeed in misdeeds {
                let client = try RawClient(endpoint.socketPath)
                try misdeed(client)
                let isCut = try client.isCutOff()
                #expect(isCut)
            }
            #expect(await host.failure(.scan(labelPrefix: ""))?.kind == .notLoggedIn)
            let still = try host.process()
            #expect(still == process)
        }
    }

    @Test func halfAFrameAndSilenceDisturbNobody() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            let silent = try RawClient(endpoint.socketPath)
            silent.send([0, 0, 1, 0, 1, 2, 3])
            let deaf = try RawClient(endpoint.socketPath)
            try deaf.greet()
            for sequence in 0..<2_000 as Range<UInt64> { try deaf.send(.ping(sequence: sequence)) }
            #expect(await host.call(.logIn) == .success(.done))
            #expect(await host.call(.generate(keySpecification(1))) == .success(.made(adopted: false)))
        }
    }

    @Test func linksBeyondTheBoundWaitUntilOthersEnd() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            var clients: [RawClient] = []
            for _ in 1..<TokenHostLimits.links {
                let client = try RawClient(endpoint.socketPath)
                try client.greet()
                _ = try client.next()
                clients.append(client)
            }
            let late = try RawClient(endpoint.socketPath)
            try late.greet()
            #expect(await host.call(.logIn) == .success(.done))
            clients = []
            try late.send(.ping(sequence: 1))
            var answer = try late.next()
            while let message = answer, !message.isPong { answer = try late.next() }
            #expect(answer?.isPong == true)
        }
    }

    @Test func readerThatIsTooSlowLosesItsLink() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        defer { close(ends[1]) }
        let connection = HostConnection(number: 1, descriptor: ends[0])
        let blob = [UInt8](repeating: 1, count: 1 << 20)
        let message = TokenHostMessage.reply(
            id: 1, outcome: .success(.transportKey(TransportPublicKey(modulus: blob, publicExponent: []))))
        for _ in 0..<20 { #expect(connection.send(message)) }
        #expect(connection.fault == nil)
        for _ in 0..<20 { #expect(connection.send(message)) }
        #expect(connection.fault == TokenHostProtocolError.readerTooSlow.description)
    }

    @Test func messageTooLargeForAnyReaderIsNotSent() throws {
        let connection = HostConnection(number: 1, descriptor: -1)
        let blob = [UInt8](repeating: 1, count: TokenHostLimits.replyBytes)
        let message = TokenHostMessage.reply(
            id: 1, outcome: .success(.transportKey(TransportPublicKey(modulus: blob, publicExponent: []))))
        #expect(!connection.send(message))
        #expect(connection.fault == nil)
    }

    @Test func secondProcessForTheSameEndpointIsRefusedAndTheLockNamesTheFirst() async throws {
        let endpoint = try TestEndpoint()
        try await endpoint.supervise { host in
            try await host.serving()
            let second = Process()
            second.executableURL = URL(fileURLWithPath: try TestEndpoint.built("hsmtokend"))
            second.arguments = ["--configuration", endpoint.folder + "/hsm-a.conf"]
            second.standardError = FileHandle.nullDevice
            try second.run()
            second.waitUntilExit()
            #expect(second.terminationStatus == TokenHostServer.ExitStatus.cannotServe)
            #expect(await host.call(.logIn) == .success(.done))
        }
    }

    @Test func staleSocketAndLockFilesAreReplaced() async throws {
        let endpoint = try TestEndpoint()
        close(try UnixSocket.listen(endpoint.socketPath, backlog: 1))
        try Data().write(to: URL(fileURLWithPath: endpoint.socketPath + ".lock"))
        try await endpoint.supervise { host in
            try await host.serving()
            let attributes = try FileManager.default.attributesOfItem(atPath: endpoint.socketPath)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
        }
        #expect(!FileManager.default.fileExists(atPath: endpoint.socketPath))
    }

    @Test func badCommandLinesEndWithTheUsage() throws {
        for arguments in [[], ["--configuration"], ["--configuration", "/none"], ["--pin", "1234"]] {
            let program = Process()
            program.executableURL = URL(fileURLWithPath: try TestEndpoint.built("hsmtokend"))
            program.arguments = arguments
            program.standardError = FileHandle.nullDevice
            try program.run()
            program.waitUntilExit()
            #expect([64, 78].contains(program.terminationStatus))
        }
    }
}

private extension TokenHostVitals {
    static let none = TokenHostVitals(
        busyThreads: 0, stuckThreads: 0, queuedRequests: 0, longestCallMilliseconds: 0, residentKibibytes: 0)
}
