// Every function with hostile arguments: null pointers, absurd lengths, unknown handles, in random sequences from a seed. What is
// asked is only that nothing crashes and that each call returns. Pointers that are not null point to real memory, since C
// gives no way to check them, and a length that goes with such a pointer is either true or absurd.

import CCryptoki
import OperationWire
import Testing

@testable import PKCS11Provider

/// SplitMix64 (Steele, Lea and Flood 2014).
private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// Draws arguments.
private final class Hostile {
    var random: Generator
    var sessions: [CK_SESSION_HANDLE] = []
    var objects: [CK_OBJECT_HANDLE] = [1, 2]
    /// Memory that arguments point to; long enough for every true length.
    let input: UnsafeMutablePointer<UInt8>
    let output: UnsafeMutablePointer<UInt8>
    let words: UnsafeMutablePointer<UInt>
    let structure: UnsafeMutableRawPointer
    let template: UnsafeMutablePointer<CK_ATTRIBUTE>
    let mechanismMemory: UnsafeMutablePointer<CK_MECHANISM>
    static let room = 8_192

    init(seed: UInt64) {
        random = Generator(state: seed)
        input = .allocate(capacity: Self.room)
        input.initialize(repeating: 7, count: Self.room)
        output = .allocate(capacity: Self.room)
        output.initialize(repeating: 0, count: Self.room)
        words = .allocate(capacity: 256)
        words.initialize(repeating: 0, count: 256)
        structure = .allocate(byteCount: Self.room, alignment: 16)
        structure.initializeMemory(as: UInt8.self, repeating: 0, count: Self.room)
        template = .allocate(capacity: 256)
        template.initialize(repeating: CK_ATTRIBUTE(), count: 256)
        mechanismMemory = .allocate(capacity: 1)
        mechanismMemory.initialize(to: CK_MECHANISM())
    }

    deinit {
        input.deallocate()
        output.deallocate()
        words.deallocate()
        structure.deallocate()
        template.deallocate()
        mechanismMemory.deallocate()
    }

    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    func pick<Value>(_ values: [Value], _ otherwise: Value) -> Value {
        values.randomElement(using: &random) ?? otherwise
    }

    var session: CK_SESSION_HANDLE {
        chance(90) ? pick(sessions, 0) : pick([0, .max, 1, 1 << 40], 0)
    }
    var object: CK_OBJECT_HANDLE {
        chance(80) ? pick(objects, 0) : pick([0, .max, 3, 1 << 41, 1 << 62], 0)
    }
    var slot: CK_SLOT_ID { chance(90) ? 1 : pick([0, 2, .max], 0) }
    var inputPointer: BytePointer { chance(90) ? input : nil }
    var inputLength: CK_ULONG {
        chance(90)
            ? CK_ULONG(Int.random(in: 0...Self.room, using: &random)) : pick([.max, .max / 2, 1 << 40], 0)
    }
    var outputPointer: BytePointer { chance(80) ? output : nil }
    /// The length that an output buffer claims: never more than it has, unless the pointer is null.
    func length(for pointer: BytePointer) -> LengthPointer {
        words[0] = pointer == nil ? pick([0, .max], 0) : UInt(Int.random(in: 0...Self.room, using: &random))
        return chance(95) ? words : nil
    }
    var wordPointer: LengthPointer { chance(90) ? words + 8 : nil }

    var mechanism: MechanismPointer {
        guard chance(95) else { return nil }
        let types: [CK_MECHANISM_TYPE] = [
            0, 9, 0x250, 0x1080, 0x1081, 0x1082, 0x1085, 0x1087, 0x108A, 0x1104, 0x2109, 0x360, 0x3AC, 0x1054,
            0x1050, .max,
        ]
        let parameterWords = structure.assumingMemoryBound(to: UInt.self)
        // A word may be taken for a pointer, so it is null or points to memory; taken for a length, it is absurd.
        for index in 0..<8 {
            parameterWords[index] = pick([0, UInt(bitPattern: input), UInt(bitPattern: structure)], 0)
        }
        let type = pick(types, 0)
        if type == 0x1104, chance(80) {
            // A true CK_KEY_DERIVATION_STRING_DATA.
            parameterWords[0] = UInt(bitPattern: input)
            parameterWords[1] = pick([0, 16, 64, .max], 0)
        }
        mechanismMemory.pointee = CK_MECHANISM(
            mechanism: type, pParameter: chance(70) ? structure : nil,
            ulParameterLen: pick([0, 0, 0, 8, 16, 24, 32, 40, 48, 1 << 40], 0))
        return mechanismMemory
    }

    func attributes() -> (AttributePointer, CK_ULONG) {
        let count = Int.random(in: 0..<12, using: &random)
        let types: [CK_ATTRIBUTE_TYPE] = [
            0, 1, 2, 3, 0x11, 0x100, 0x102, 0x103, 0x108, 0x10C, 0x161, 0x162, 0x4000_0211, 0x4000_0213, .max,
        ]
        for index in 0..<count {
            words[16 + index] = pick([0, 1, 4, 16, 0x1F], 0)
            let hasValue = chance(85)
            let type = pick(types, 0)
            let isNested = type == 0x4000_0211 || type == 0x4000_0213
            template[index] = CK_ATTRIBUTE(
                type: type, pValue: hasValue && !isNested ? UnsafeMutableRawPointer(words + 16 + index) : nil,
                ulValueLen: pick([0, 1, 8, 8, 1 << 50, .max], 0))
            // A nested template of real attributes.
            if isNested, chance(50) {
                template[index].pValue = UnsafeMutableRawPointer(template + 200)
                template[index].ulValueLen = pick([24, 48, 25, 1 << 50], 0)
            }
        }
        // What C_GetAttributeValue may write to is as long as it says, or absurd only where it is null.
        return (chance(90) ? template : nil, chance(95) ? CK_ULONG(count) : pick([1 << 40, .max], 0))
    }

    func writableAttributes() -> (AttributePointer, CK_ULONG) {
        let (pointer, count) = attributes()
        for index in 0..<12 {
            template[index].pValue = chance(60) ? UnsafeMutableRawPointer(output + 256 * index) : nil
            template[index].ulValueLen = CK_ULONG(Int.random(in: 0...256, using: &random))
        }
        return (pointer, count)
    }
}

extension ProviderTests {
    @Suite(.serialized) struct Fuzzing {
        @Test(arguments: 1...8)
        func hostileArgumentsNeverCrash(seed: UInt64) throws {
            let network = try Stage.network(hedgeMilliseconds: 2)
            let application = try Application(network: network)
            network.change { directory in
                // Short deadlines keep the test short; the login above may take longer on a busy machine.
                directory.deadlineMilliseconds = 8
                let types: [UInt64] = [9, 0x360, 0x3AC, 0x1054, 0x1050, 0x1087]
                directory.mechanisms += types.map {
                    .init(type: $0, minimumKeySize: 0, maximumKeySize: 0, flags: 0)
                }
            }
            let hostile = Hostile(seed: seed)
            hostile.sessions = [application.session]
            var outcomes: Set<CK_RV> = []
            for _ in 0..<4_000 { outcomes.insert(step(hostile, network)) }
            // The sequences reach past the first check.
            #expect(outcomes.contains(CKR_OK))
            #expect(outcomes.count > 12)
            for host in network.hosts { host.behave(.well) }
            network.change { $0.deadlineMilliseconds = 500 }
            _ = cCloseAllSessions(1)
            #expect(try Application(network: network).mac([1]).count == 16)
        }

        private func step(_ h: Hostile, _ network: FakeNetwork) -> CK_RV {
            if h.chance(2), let host = network.hosts.randomElement(using: &h.random) {
                host.behave(
                    h.pick([.well, .well, .down, .losesReplies, .answers(0x30), .answers(0x150)], .well))
            }
            switch Int.random(in: 0..<68, using: &h.random) {
            case 0: return h.chance(5) ? reinitialize(h, network) : cGetInfo(nil)
            case 1: return cFinalize(h.structure)
            case 2: return cGetFunctionList(nil)
            case 3:
                return cGetSlotList(h.chance(50) ? 1 : 0, h.chance(50) ? h.words + 32 : nil, h.wordPointer)
            case 4: return cGetSlotInfo(h.slot, nil)
            case 5: return cGetTokenInfo(h.slot, nil)
            case 6: return cWaitForSlotEvent(h.chance(50) ? 1 : 0, h.wordPointer, nil)
            case 7:
                let list = h.chance(50) ? h.words + 64 : nil
                h.words[8] = list == nil ? .max : 16
                return cGetMechanismList(h.slot, list, h.words + 8)
            case 8: return cGetMechanismInfo(h.slot, 0x1081, nil)
            case 9: return cInitToken(h.slot, h.inputPointer, h.inputLength, h.inputPointer)
            case 10: return cInitPIN(h.session, h.inputPointer, h.inputLength)
            case 11: return cSetPIN(h.session, h.inputPointer, h.inputLength, nil, h.inputLength)
            case 12, 13:
                var session: CK_SESSION_HANDLE = 0
                let outcome = cOpenSession(h.slot, h.chance(90) ? 6 : 0, nil, nil, &session)
                if outcome == CKR_OK { h.sessions.append(session) }
                return outcome
            case 14: return h.chance(20) ? cCloseSession(h.session) : cCloseSession(0)
            case 15: return h.chance(3) ? cCloseAllSessions(h.slot) : cCloseAllSessions(9)
            case 16: return cGetSessionInfo(h.session, nil)
            case 17: return cGetOperationState(h.session, h.outputPointer, h.wordPointer)
            case 18: return cSetOperationState(h.session, h.inputPointer, h.inputLength, 0, 0)
            case 19: return cLogin(h.session, h.pick([0, 1, 2, 99], 1), h.inputPointer, h.inputLength)
            case 20: return Application.logIn(h.session, h.pick(["cms:secret", "x", ":", ""], ""))
            case 21: return h.chance(10) ? cLogout(h.session) : cLogout(0)
            case 22: return withAttributes(h) { cCreateObject(h.session, $0, $1, h.made) }
            case 23: return withAttributes(h) { cCopyObject(h.session, h.object, $0, $1, h.made) }
            case 24: return cDestroyObject(h.session, h.object)
            case 25: return cGetObjectSize(h.session, h.object, h.wordPointer)
            case 26:
                let (pointer, count) = h.writableAttributes()
                return cGetAttributeValue(h.session, h.object, pointer, count)
            case 27: return withAttributes(h) { cSetAttributeValue(h.session, h.object, $0, $1) }
            case 28: return withAttributes(h) { cFindObjectsInit(h.session, $0, $1) }
            case 29:
                let handles = h.chance(80) ? h.words + 128 : nil
                return cFindObjects(h.session, handles, h.pick([0, 1, 100], 0), h.wordPointer)
            case 30: return cFindObjectsFinal(h.session)
            case 31, 32: return cEncryptInit(h.session, h.mechanism, h.object)
            case 33: return transform(h, cEncrypt)
            case 34: return transform(h, cEncryptUpdate)
            case 35: return finish(h, cEncryptFinal)
            case 36, 37: return cDecryptInit(h.session, h.mechanism, h.object)
            case 38: return transform(h, cDecrypt)
            case 39: return transform(h, cDecryptUpdate)
            case 40: return finish(h, cDecryptFinal)
            case 41: return cDigestInit(h.session, h.mechanism)
            case 42: return transform(h, cDigest)
            case 43: return cDigestUpdate(h.session, h.inputPointer, h.boundedLength)
            case 44: return cDigestKey(h.session, h.object)
            case 45: return finish(h, cDigestFinal)
            case 46: return cSignInit(h.session, h.mechanism, h.object)
            case 47: return transform(h, cSign)
            case 48: return cSignUpdate(h.session, h.inputPointer, h.boundedLength)
            case 49: return finish(h, cSignFinal)
            case 50: return cSignRecoverInit(h.session, h.mechanism, h.object)
            case 51: return transform(h, cSignRecover)
            case 52: return cVerifyInit(h.session, h.mechanism, h.object)
            case 53:
                return cVerify(h.session, h.inputPointer, h.boundedLength, h.inputPointer, h.boundedLength)
            case 54: return cVerifyUpdate(h.session, h.inputPointer, h.boundedLength)
            case 55: return cVerifyFinal(h.session, h.inputPointer, h.boundedLength)
            case 56: return cVerifyRecoverInit(h.session, h.mechanism, h.object)
            case 57: return transform(h, cVerifyRecover)
            case 58:
                return h.chance(50) ? transform(h, cDigestEncryptUpdate) : transform(h, cSignEncryptUpdate)
            case 59:
                return h.chance(50) ? transform(h, cDecryptDigestUpdate) : transform(h, cDecryptVerifyUpdate)
            case 60: return withAttributes(h) { cGenerateKey(h.session, h.mechanism, $0, $1, h.made) }
            case 61:
                return withAttributes(h) {
                    cGenerateKeyPair(h.session, h.mechanism, $0, $1, nil, 0, h.made, h.made)
                }
            case 62:
                let pointer = h.outputPointer
                return cWrapKey(h.session, h.mechanism, h.object, h.object, pointer, h.length(for: pointer))
            case 63:
                return withAttributes(h) {
                    cUnwrapKey(
                        h.session, h.mechanism, h.object, h.inputPointer, h.boundedLength, $0, $1, h.made)
                }
            case 64: return withAttributes(h) { cDeriveKey(h.session, h.mechanism, h.object, $0, $1, h.made) }
            case 65: return cSeedRandom(h.session, h.inputPointer, h.boundedLength)
            case 66: return cGenerateRandom(h.session, h.outputPointer, h.pick([0, 1, 8_192, .max], 0))
            default: return h.chance(50) ? cGetFunctionStatus(h.session) : cCancelFunction(h.session)
            }
        }

        private func reinitialize(_ h: Hostile, _ network: FakeNetwork) -> CK_RV {
            let outcome = cFinalize(nil)
            guard let application = try? Application(network: network) else { return outcome }
            h.sessions = [application.session]
            return outcome
        }

        private func withAttributes(_ h: Hostile, _ body: (AttributePointer, CK_ULONG) -> CK_RV) -> CK_RV {
            let (pointer, count) = h.attributes()
            let outcome = body(pointer, count)
            if outcome == CKR_OK, h.words[250] != 0 {
                h.objects.append(h.words[250])
                h.words[250] = 0
                if h.objects.count > 40 { h.objects.removeSubrange(2..<20) }
            }
            return outcome
        }

        private func transform(
            _ h: Hostile,
            _ function: (CK_SESSION_HANDLE, BytePointer, CK_ULONG, BytePointer, LengthPointer) -> CK_RV
        ) -> CK_RV {
            let pointer = h.outputPointer
            return function(h.session, h.inputPointer, h.boundedLength, pointer, h.length(for: pointer))
        }

        private func finish(
            _ h: Hostile, _ function: (CK_SESSION_HANDLE, BytePointer, LengthPointer) -> CK_RV
        ) -> CK_RV {
            let pointer = h.outputPointer
            return function(h.session, pointer, h.length(for: pointer))
        }
    }
}

extension Hostile {
    /// A length that is true for `input`, or beyond every bound.
    fileprivate var boundedLength: CK_ULONG { inputLength }
    fileprivate var made: HandlePointer { chance(90) ? words + 250 : nil }
}
