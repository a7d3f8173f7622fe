import ClusterModel
import Testing

@testable import Failover

// Every row of the table of failure classes, and what follows from each class.

@Suite struct ClassificationTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var value: UInt
        var failureClass: FailureClass
        var testDescription: String { "0x\(String(value, radix: 16)) is \(failureClass.rawValue)" }
    }

    static func rows(_ failureClass: FailureClass, _ values: UInt...) -> [Row] {
        values.map { Row(value: $0, failureClass: failureClass) }
    }

    static let standard =
        rows(.gone, 0xE0, 0x32, 0x30, 0x05, 0x190) + rows(.ambiguous, 0x06)
        + rows(.staleSession, 0xB3, 0xB0, 0x101, 0x60, 0x82) + rows(.capacity, 0xB1, 0x31, 0x02)
        + rows(.credential, 0xA0, 0xA4)
        + rows(.badRequest, 0x21, 0x70, 0x68, 0x10, 0x11, 0x12, 0x13, 0xD0, 0xD1)
        // What the specification's wording implies.
        + rows(.gone, 0x03, 0xE1, 0x1C1, 0x1C2) + rows(.credential, 0xA1, 0xA2, 0xA3, 0x102, 0x1C3)
        + rows(.staleSession, 0x90, 0x91, 0xF0, 0x113) + rows(.capacity, 0x201)
        + rows(.badRequest, 0x07, 0x20, 0x54, 0x63, 0x6A, 0x71, 0xC0, 0x150, 0xB5, 0xE2)
        + rows(.ambiguous, 0x50, 0x1A0, 0x04, 0x7FFF_FFFF)

    static let primus =
        rows(.gone, 0x8000_003B, 0x8000_5015, 0x8000_0069) + rows(.capacity, 0x8000_0018)
        + rows(.credential, 0x8000_000B, 0x8000_0037, 0x8000_5017)
        + rows(.staleSession, 0x8000_000C) + rows(.badRequest, 0x8000_002A, 0x8000_005F)

    @Test(arguments: standard) func aStandardValueHasItsClassWithEveryVendor(row: Row) {
        for table in [FailureTable.standard, .primus] {
            #expect(table.classify(row.value)?.failureClass == row.failureClass)
            #expect(table.classify(row.value)?.returnValue == row.value)
        }
    }

    @Test(arguments: primus) func aPrimusValueHasItsClassOnlyWithPrimus(row: Row) {
        #expect(FailureTable.primus.classify(row.value)?.failureClass == row.failureClass)
        #expect(FailureTable.standard.classify(row.value)?.failureClass == .ambiguous)
    }

    @Test(arguments: [0x8000_0000, 0x8000_0001, 0xC000_0001, 0xFFFF_FFFF, 0x1_0000_0000, UInt.max])
    func anUnknownVendorValueIsAmbiguous(value: UInt) {
        #expect(FailureTable.primus.classify(value)?.failureClass == .ambiguous)
    }

    @Test func aVendorValueThatWentThroughASignedIntegerIsRecognized() {
        let found = FailureTable.primus.classify(0xFFFF_FFFF_8000_0018)
        #expect(found == Classification(returnValue: 0x8000_0018, failureClass: .capacity))
        #expect(FailureTable.primus.classify(0xFFFF_FFFF_0000_0005)?.failureClass == .ambiguous)
    }

    @Test func everyValueOfTheStandardIsFoundByNumberAndByName() {
        for row in ReturnValue.standard {
            #expect(FailureTable.standard.classify(row.value)?.failureClass == row.failureClass)
            #expect(ReturnValue.value(named: row.name) == row.value)
        }
    }

    @Test func successIsNoFailure() {
        #expect(FailureTable.standard.classify(0) == nil)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var failureClass: FailureClass
        var kind: OperationKind
        var first: Disposition
        var second: Disposition
        var testDescription: String { "\(kind) failed with \(failureClass.rawValue)" }

        init(
            _ failureClass: FailureClass, _ kind: OperationKind, _ first: Disposition,
            then second: Disposition
        ) {
            (self.failureClass, self.kind, self.first, self.second) = (failureClass, kind, first, second)
        }
    }

    static let cases = [
        Case(.gone, .repeatable, .tryAnotherEndpoint, then: .tryAnotherEndpoint),
        Case(.gone, .mutating, .reconcile, then: .reconcile),
        Case(.gone, .login, .tryAnotherEndpoint, then: .tryAnotherEndpoint),
        Case(.ambiguous, .repeatable, .retryOnceHere, then: .tryAnotherEndpoint),
        Case(.ambiguous, .mutating, .reconcile, then: .reconcile),
        Case(.ambiguous, .login, .tryAnotherEndpoint, then: .tryAnotherEndpoint),
        Case(.staleSession, .repeatable, .reopenSession, then: .tryAnotherEndpoint),
        Case(.staleSession, .mutating, .reopenSession, then: .reconcile),
        Case(.staleSession, .login, .reopenSession, then: .tryAnotherEndpoint),
        Case(.capacity, .repeatable, .backOff, then: .backOff),
        Case(.capacity, .mutating, .backOff, then: .backOff),
        Case(.capacity, .login, .backOff, then: .backOff),
        Case(.credential, .repeatable, .stopAndAlarm, then: .stopAndAlarm),
        Case(.credential, .mutating, .stopAndAlarm, then: .stopAndAlarm),
        Case(.credential, .login, .stopAndAlarm, then: .stopAndAlarm),
        Case(.badRequest, .repeatable, .reject, then: .reject),
        Case(.badRequest, .mutating, .reject, then: .reject),
        Case(.badRequest, .login, .reject, then: .reject),
    ]

    @Test(arguments: cases) func aClassAndAKindOfCallDecideWhatToDo(row: Case) {
        #expect(row.failureClass.disposition(for: row.kind) == row.first)
        #expect(row.failureClass.disposition(for: row.kind, hasRetried: true) == row.second)
        let classified = Classification(returnValue: nil, failureClass: row.failureClass)
        #expect(classified.disposition(for: row.kind) == row.first)
    }

    @Test func aCallThatMayHaveHadAnEffectIsNeverBlindlyRepeated() {
        for value in UInt(1)...0x210 {
            guard let found = FailureTable.standard.classify(value) else { continue }
            for hasRetried in [false, true] {
                let disposition = found.disposition(for: .mutating, hasRetried: hasRetried)
                #expect(disposition != .retryOnceHere && disposition != .tryAnotherEndpoint)
            }
        }
    }

    @Test func aSessionThatClosedDuringAMutationIsReconciled() {
        let closed = FailureTable.standard.classify(0xB0)
        #expect(closed?.disposition(for: .mutating) == .reconcile)
        #expect(closed?.disposition(for: .repeatable) == .reopenSession)
    }

    @Test func onlyWhatSpeaksAgainstTheEndpointMakesItSuspect() {
        #expect(FailureClass.allCases.filter { $0.makesSuspect() } == [.gone])
        #expect(
            FailureClass.allCases.filter { $0.makesSuspect(hasRetried: true) }
                == [.gone, .ambiguous, .staleSession])
    }

    @Test(
        arguments: [
            (EndpointFailure.Kind.deadlineExceeded, FailureClass.gone), (.tokenHostLost, .gone),
            (.moduleUnavailable, .gone), (.tokenNotFound, .gone), (.pinUnavailable, .credential),
            (.credentialRejected, .credential), (.busy, .capacity), (.notLoggedIn, .staleSession),
            (.invalidRequest, .badRequest), (.keyNotFound, nil), (.keyNotExtractable, nil),
            (.keyMismatch, nil), (.mechanismMissing, nil),
        ] as [(EndpointFailure.Kind, FailureClass?)])
    func aFailureOfATokenHostHasItsClass(kind: EndpointFailure.Kind, failureClass: FailureClass?) {
        let failure = EndpointFailure(kind, detail: "")
        #expect(FailureTable.standard.classify(failure)?.failureClass == failureClass)
    }

    @Test func aReturnValueFromATokenHostIsClassifiedByItself() {
        let failure = EndpointFailure(
            .returnValue, function: "C_Sign", returnValue: 0x8000_0018, detail: "busy")
        #expect(FailureTable.primus.classify(failure)?.failureClass == .capacity)
        #expect(
            FailureTable.primus.classify(EndpointFailure(.returnValue, detail: ""))?.failureClass
                == .ambiguous)
    }
}
