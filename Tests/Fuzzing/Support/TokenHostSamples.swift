import ClusterModel
import TokenHostLink

// One message of every kind, with requests and answers of every kind.

enum TokenHostSamples {
    static var messages: [(name: String, message: TokenHostMessage)] {
        let vitals = TokenHostVitals(
            busyThreads: 1, stuckThreads: 0, queuedRequests: 2, longestCallMilliseconds: 30,
            residentKibibytes: 9_000)
        let hello = TokenHostHello(process: 100, configurationDigest: .max, program: [1, 2])
        let others: [(String, TokenHostMessage)] = [
            ("hello", .hello(hello)), ("ping", .ping(sequence: 1)),
            ("pong", .pong(sequence: 1, vitals: vitals)), ("starting", .state(.starting)),
            ("serving", .state(.serving(token, pin: .accepted))), ("failed", .state(.failed(failure))),
            ("failure", .reply(id: 3, outcome: .failure(failure))),
        ]
        return others
            + requests.map { ("request-\($0.name.replacing(" ", with: "-"))", message($0)) }
            + replies.map { ("reply-\($0)", .reply(id: 3, outcome: .success($1))) }
    }

    static let token = TokenDescription(
        label: "hsm-a", serialNumber: "1", manufacturer: "m", model: "m", mechanisms: [1, 0x1081, .max],
        isLoggedIn: true)
    static let failure = EndpointFailure(
        .returnValue, function: "C_GenerateKey", returnValue: 0x30, detail: "the device failed")
    private static let identity = CatalogScenario.identity(0).bytes
    private static let specification = KeySpecification(
        identity: identity, label: "CMS MK 4099", algorithm: .aes256, usage: [.derive, .mac],
        isExtractable: true)
    private static let wrapped = WrappedKey(
        encryptedWrappingKey: [1, 2, 3], encryptedKey: [4, 5], usesSHA256: true)

    private static func message(_ request: EndpointRequest) -> TokenHostMessage {
        .request(id: 3, request: request, deadlineMilliseconds: 5_000)
    }

    private static let requests: [EndpointRequest] = [
        .inspect, .logIn, .forgetRejectedPIN, .scan(labelPrefix: "CMS MK"), .generate(specification),
        .transportKey, .exportKey(identity: identity, destination: CatalogScenario.transportKey),
        .importKey(specification, wrapped),
        .verify(identity: identity, algorithm: .aes128, challenge: [UInt8](repeating: 1, count: 32)),
        .restrict(identity: identity), .destroy(identity: identity, label: "CMS MK 4099"),
    ]

    static let replies: [(name: String, reply: EndpointReply)] = [
        ("token", .token(token)),
        (
            "objects",
            .objects([
                KeyObject(
                    label: "CMS MK 4099", identity: identity, algorithm: nil, isSensitive: true,
                    isExtractable: false)
            ])
        ),
        ("transport-key", .transportKey(CatalogScenario.transportKey)), ("wrapped", .wrapped(wrapped)),
        ("proof", .proof(CatalogScenario.proof)), ("destroyed", .destroyed(1)),
        ("made", .made(adopted: false)), ("done", .done),
    ]
}
