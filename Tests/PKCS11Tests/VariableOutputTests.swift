// Answers of unknown length, from modules that don't keep to the rules. The entry points are scripted here; real
// modules can't be made to lie.

import SoftHSMFixture
import Testing

@testable import PKCS11

@Suite struct VariableOutputTests {
    private typealias Fill = (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt>) -> UInt
    private typealias List = (UnsafeMutablePointer<UInt>?, UnsafeMutablePointer<UInt>) -> UInt

    private func output(expecting: Int, limit: Int, _ fill: @escaping Fill) throws -> [UInt8] {
        let entry: Fill? = fill
        return try SoftHSMFixture.shared().module.output(.sign, entry, expecting: expecting, limit: limit) {
            $0($1, $2)
        }
    }

    private func numbers(limit: Int, _ list: @escaping List) throws -> [UInt] {
        let entry: List? = list
        return try SoftHSMFixture.shared().module.numbers(.getSlotList, entry, limit: limit) { $0($1, $2) }
    }

    @Test func goodGuessNeedsOneCall() throws {
        var calls = 0
        let bytes = try output(expecting: 8, limit: 100) { bytes, length in
            calls += 1
            for index in 0..<3 { bytes?[index] = UInt8(index) }
            length.pointee = 3
            return 0
        }
        #expect(bytes == [0, 1, 2])
        #expect(calls == 1)
    }

    @Test func tooSmallABufferIsOfferedOnceMoreInTheLengthAskedFor() throws {
        var offered: [UInt] = []
        let bytes = try output(expecting: 2, limit: 100) { bytes, length in
            offered.append(length.pointee)
            guard length.pointee >= 5 else {
                length.pointee = 5
                return 0x150
            }
            for index in 0..<5 { bytes?[index] = 7 }
            length.pointee = 5
            return 0
        }
        #expect(bytes == [7, 7, 7, 7, 7])
        #expect(offered == [2, 5])
    }

    @Test func moduleThatKeepsAskingForMoreIsRefused() {
        #expect(throws: PKCS11Error(.sign, .bufferTooSmall)) {
            try output(expecting: 2, limit: 100) { _, length in
                length.pointee += 1
                return 0x150
            }
        }
    }

    @Test(arguments: [UInt(101), .max, 2, 0])
    func lengthsOutsideTheBoundsAreRefused(length: UInt) {
        #expect(throws: PKCS11Error(.sign, .answerOutOfBounds)) {
            try output(expecting: 2, limit: 100) { _, wanted in
                wanted.pointee = length
                return 0x150
            }
        }
    }

    @Test func successWithMoreThanTheBufferHoldsIsRefused() {
        #expect(throws: PKCS11Error(.sign, .answerOutOfBounds)) {
            try output(expecting: 2, limit: 100) { _, length in
                length.pointee = 3
                return 0
            }
        }
    }

    @Test func missingFunctionIsNotSupported() {
        #expect(throws: PKCS11Error(.sign, .functionNotSupported)) {
            let entry: Fill? = nil
            return try SoftHSMFixture.shared().module.output(.sign, entry, expecting: 1, limit: 1) {
                $0($1, $2)
            }
        }
    }

    @Test func listThatGrowsMeanwhileIsAskedForAgain() throws {
        var calls = 0
        let found = try numbers(limit: 10) { values, count in
            calls += 1
            guard let values else {
                count.pointee = calls == 1 ? 1 : 2
                return 0
            }
            guard count.pointee >= 2 else { return 0x150 }
            (values[0], values[1], count.pointee) = (4, 5, 2)
            return 0
        }
        #expect(found == [4, 5])
    }

    @Test func listThatNeverSettlesOrIsTooLongIsRefused() {
        #expect(throws: PKCS11Error(.getSlotList, .bufferTooSmall)) {
            try numbers(limit: 10) { values, count in
                count.pointee = 1
                return values == nil ? 0 : 0x150
            }
        }
        #expect(throws: PKCS11Error(.getSlotList, .answerOutOfBounds)) {
            try numbers(limit: 10) { _, count in
                count.pointee = 11
                return 0
            }
        }
    }
}
