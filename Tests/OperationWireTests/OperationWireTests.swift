// Every value comes back as it was written; every cut and every flipped byte is an error value or another value, never
// a crash; bounds hold in both directions.

import OperationWire
import Testing

private let key = ObjectReference.clusterKey(objectClass: 4, identifier: Array(0..<26))
private let made = ObjectReference.hostObject(handle: 7, incarnation: .max)
private let oaep = WireMechanism.OAEP(hash: 0x250, maskGeneration: 2, source: [1, 2])
private let template = [
    WireAttribute(0x161, bytes: [16, 0, 0, 0, 0, 0, 0, 0]),
    WireAttribute(0x4000_0211, .template([WireAttribute(0x10C, bytes: [1])])),
]

private let parameters: [WireMechanism.Parameter] = [
    .none, .bytes(Array(0..<16)), .oaep(oaep),
    .gcm(iv: [1], ivBits: 8, additionalData: [2, 3], tagBits: 128),
    .ccm(dataBytes: 9, nonce: [4], additionalData: [], macBytes: 8), .stringData([5, 6]),
    .cbcEncryptData(iv: [7], data: [8, 9]), .ecdh1(derivation: 1, sharedData: [], publicData: [4, 4]),
    .object(made), .rsaAESKeyWrap(aesKeyBits: 256, oaep),
    .counterKDF(prf: 0x108A, parts: [.init(type: 1, value: [0, 8]), .init(type: 3, value: [])]),
]

private let operations: [Operation] =
    DataFunction.allCases.map {
        .data($0, key: key, WireMechanism(0x108A), input: [1, 2, 3], signature: [4])
    } + parameters.map { .derive(base: key, WireMechanism(0x1104, $0), template: template) } + [
        .data(.digest, key: nil, WireMechanism(0x250), input: [], signature: []),
        .streamBegin(3, .encrypt, key: key, WireMechanism(0x1082, .bytes([0]))), .streamUpdate(3, [1]),
        .streamUpdateKey(3, made), .streamEnd(3, signature: [9]), .streamAbandon(3),
        .wrap(wrappingKey: key, WireMechanism(0x2109), key: made),
        .unwrap(unwrappingKey: key, WireMechanism(0x2109), wrapped: [1, 2], template: template),
        .randomBytes(count: 32), .seedRandom([1]), .generateKey(WireMechanism(0x1080), template: template),
        .generateKeyPair(WireMechanism(0), publicTemplate: template, privateTemplate: []),
        .createObject(template: template), .copyObject(made, template: []), .destroyObject(made),
        .getAttributes(made, types: [0, 0x161]), .setAttributes(made, template: template), .objectSize(key),
        .logIn(user: Array("cms".utf8), password: Array("secret".utf8)), .logOut, .closeSession,
        .cancel(request: 17),
    ]

private let replies: [OperationReply] = [
    .init(number: 1, returnValue: 0), .init(number: 2, returnValue: 0x32, origin: .tokenHost),
    .init(number: 3, returnValue: 0, body: .bytes([1, 2])),
    .init(number: 4, returnValue: 0, body: .handles([5, 6], incarnation: 7)),
    .init(
        number: 5, returnValue: 0x11,
        body: .attributes([
            .init(type: 0, value: [4], isSensitive: false), .init(type: 0x11, value: nil, isSensitive: true),
            .init(type: 0x120, value: nil, isSensitive: false),
        ])),
    .init(number: 6, returnValue: 0, body: .number(120)),
]

private let directory = Directory(
    epoch: 12, clusterName: "cms", tokenLabel: "cms", tokenSerialNumber: "0123456789abcdef",
    endpoints: [
        .init(name: "hsm-a", service: .inService, socketPath: "/run/hsm-a.data"),
        .init(
            name: "hsm-b", service: .standby, weight: 2, priority: 1, concurrencyLimit: 8, socketPath: "",
            failureVendor: "primus", failureOverrides: "0x80000018 = capacity\n"),
        .init(name: "hsm-c", service: .out, socketPath: ""),
    ],
    mechanisms: [.init(type: 0x108A, minimumKeySize: 16, maximumKeySize: 32, flags: 0x800)],
    keys: [
        .init(
            number: 1, objectClass: 4, keyType: 0x1F, label: "CMS MK 4099", identifier: [1, 2], length: 32,
            flags: [.derive, .sensitive], attributes: [.init(type: 0x102, value: [3])],
            replicas: [.init(endpoint: 0, identifier: [1]), .init(endpoint: 2, identifier: [2])])
    ])

@Suite struct OperationWireTests {
    @Test func everyRequestComesBackAsItWasWritten() throws {
        for (number, operation) in operations.enumerated() {
            let request = OperationRequest(
                number: UInt64(number), session: .max, deadlineMilliseconds: 2_000, operation: operation)
            #expect(try OperationRequest(decoding: request.encode()) == request)
        }
    }

    @Test func everyReplyComesBackAsItWasWritten() throws {
        for reply in replies { #expect(try OperationReply(decoding: reply.encode()) == reply) }
    }

    @Test func aDirectoryComesBackAsItWasWritten() throws {
        #expect(try Directory(decoding: directory.encode()) == directory)
    }

    /// Every prefix is refused: nothing is read beyond the end, and nothing is made of half a message.
    @Test func cutBytesAreRefused() throws {
        for operation in operations {
            let bytes = try OperationRequest(
                number: 1, session: 2, deadlineMilliseconds: 3, operation: operation
            ).encode()
            for length in bytes.indices {
                #expect(throws: WireError.self) { try OperationRequest(decoding: Array(bytes[..<length])) }
            }
            #expect(throws: WireError.trailingBytes) { try OperationRequest(decoding: bytes + [0]) }
        }
        for reply in replies {
            let bytes = try reply.encode()
            for length in bytes.indices {
                #expect(throws: WireError.self) { try OperationReply(decoding: Array(bytes[..<length])) }
            }
        }
    }

    /// A flipped bit makes another valid message or an error; what is valid can be written again.
    @Test func flippedBitsNeverCrash() throws {
        for operation in operations {
            let bytes = try OperationRequest(
                number: 1, session: 2, deadlineMilliseconds: 3, operation: operation
            ).encode()
            for bit in 0..<bytes.count * 8 {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << (bit % 8)
                guard let read = try? OperationRequest(decoding: flipped) else { continue }
                #expect(try OperationRequest(decoding: read.encode()) == read)
            }
        }
    }

    @Test func aDamagedDirectoryIsRefused() throws {
        let bytes = try directory.encode()
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            #expect(throws: WireError.self) { try Directory(decoding: damaged) }
        }
        for length in bytes.indices {
            #expect(throws: WireError.self) { try Directory(decoding: Array(bytes[..<length])) }
        }
    }

    @Test func boundsHoldWhenWriting() {
        func refuses(_ operation: Operation) {
            let request = OperationRequest(
                number: 1, session: 1, deadlineMilliseconds: 1, operation: operation)
            #expect(throws: WireError.tooLarge) { try request.encode() }
        }
        let tooMuch = [UInt8](repeating: 0, count: OperationLimits.dataBytes + 1)
        refuses(.streamUpdate(1, tooMuch))
        refuses(.data(.sign, key: key, WireMechanism(1), input: tooMuch, signature: []))
        refuses(.randomBytes(count: UInt32(OperationLimits.randomBytes) + 1))
        refuses(.createObject(template: [WireAttribute](repeating: .init(0, bytes: []), count: 129)))
        refuses(.logIn(user: [], password: [UInt8](repeating: 0, count: OperationLimits.passwordBytes + 1)))
        let deep = [WireAttribute(1, .template([WireAttribute(2, .template([]))]))]
        refuses(.createObject(template: deep))
    }

    /// A count that claims more than the bytes can hold costs no memory.
    @Test func anAbsurdCountIsRefused() {
        var writer = ByteWriter()
        writer.write(UInt32.max)
        writer.bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw)
            #expect(throws: WireError.tooLarge) { try reader.bytes(limit: 1_000) }
            reader = ByteReader(raw)
            #expect(throws: WireError.truncated) { try reader.bytes(limit: .max) }
        }
    }

    @Test func wipingOverwritesInPlace() {
        var secret: [UInt8] = Array("secret".utf8)
        secret.wipe()
        #expect(secret == [0, 0, 0, 0, 0, 0])
        var request = OperationRequest(
            number: 1, session: 1, deadlineMilliseconds: 1, operation: .logIn(user: [1], password: [2, 3]))
        request.wipe()
        #expect(request.operation == .logIn(user: [1], password: []))
    }
}
