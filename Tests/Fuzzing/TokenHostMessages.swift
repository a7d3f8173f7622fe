import ClusterModel
import TokenHostLink

// The stream between a node and a token host, in which a vendor's module may have written anything; and the file
// that tells a token host what to serve.

enum Target: FuzzTarget {
    static let longestInput = 8192
    private static let bound = 4096

    static func check(_ input: [UInt8]) {
        var reader = InputReader(input)
        let cut = 1 + reader.number(below: 255)
        let stream = reader.remainder()
        let whole = parse(stream, cut: max(1, stream.count))
        let pieces = parse(stream, cut: cut)
        hold(pieces == whole, "the messages depend on where the stream is cut")
        for message in whole.messages {
            guard let frame = TokenHostFrame.encode(message, bound: .max) else {
                return hold(false, "a message can be read but not written")
            }
            hold(
                parse(frame, cut: cut, bound: .max) == Outcome(messages: [message]),
                "a message reads as another one")
        }
        guard let configuration = checkedDecoding(TokenHostConfiguration.self, stream) else { return }
        _ = (configuration.complaint, configuration.hangLimit, try? configuration.digest())
    }

    private struct Outcome: Equatable {
        var messages: [TokenHostMessage] = []
        var error: TokenHostProtocolError?
    }

    private static func parse(_ stream: [UInt8], cut: Int, bound: Int = bound) -> Outcome {
        var reader = TokenHostFrameReader(bound: bound)
        var outcome = Outcome()
        var rest = stream[...]
        while !rest.isEmpty {
            reader.append(rest.prefix(cut))
            rest = rest.dropFirst(cut)
            do {
                while let message = try reader.next() { outcome.messages.append(message) }
            } catch {
                outcome.error = error
                return outcome
            }
        }
        return outcome
    }

    static func seeds() throws -> [Seed] {
        var seeds: [Seed] = []
        for (name, message) in TokenHostSamples.messages {
            let frame = TokenHostFrame.encode(message, bound: bound) ?? []
            seeds.append(Seed(name: name, bytes: [0x10] + frame, words: try seed("", message).words))
        }
        let configuration = TokenHostConfiguration(
            endpoint: EndpointName("hsm-a"), modulePath: "/usr/lib/softhsm/libsofthsm2.so",
            tokenURI: "pkcs11:token=hsm-a", pinSource: .file(path: "/run/pin"),
            environment: ["SOFTHSM2_CONF": "/etc/softhsm2.conf"], socketPath: "/run/a.sock",
            credentialRecordPath: "/run/a.pin")
        seeds.append(try seed("configuration", after: [1], configuration))
        seeds.append(Seed(name: "three", bytes: [7] + seeds[..<3].flatMap { $0.bytes.dropFirst() }))
        return seeds
    }
}
