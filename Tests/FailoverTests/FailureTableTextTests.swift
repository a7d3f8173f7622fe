import Failover
import Testing

// Overrides as people write them.

@Suite struct FailureTableTextTests {
    static func error(_ text: String, vendor: String = "standard") -> FailureTableError? {
        do {
            _ = try FailureTable(vendor: vendor, overrides: text)
            return nil
        } catch {
            return error
        }
    }

    @Test func linesOverrideTheVendorAndTheStandard() throws {
        let table = try FailureTable(
            vendor: "primus",
            overrides: """
                # what our driver really means
                0x80000018 = gone   # not busy at all

                CKR_FUNCTION_FAILED=capacity
                \t0XC0000001 = stale-session\r
                """)
        #expect(try FailureTable(overrides: "0x6 = gone\r\n0x5 = gone\r\n").overrides.count == 2)
        #expect(table.classify(0x8000_0018)?.failureClass == .gone)
        #expect(table.classify(0x06)?.failureClass == .capacity)
        #expect(table.classify(0xC000_0001)?.failureClass == .staleSession)
        #expect(table.classify(0x8000_003B)?.failureClass == .gone)
        #expect(table.overrides.map(\.returnValue) == table.overrides.map(\.returnValue).sorted())
    }

    @Test func theTextOfATableGivesTheSameTable() throws {
        for table in [FailureTable.standard, .primus] {
            #expect(try FailureTable(overrides: table.text) == table)
        }
        #expect(FailureTable.primus.text.contains("0x80000018 = capacity\n"))
        #expect(
            try FailureTable(overrides: "0x6 = gone").text == "CKR_FUNCTION_FAILED = gone\n")
        for failureClass in FailureClass.allCases {
            let text = "0x80000001 = \(failureClass.rawValue)\n"
            #expect(try FailureTable(overrides: text).text == text)
        }
    }

    @Test(arguments: [
        ("0x1", FailureTableError.malformedLine(line: 1)),
        ("\n\n0x1 = gone = gone", .malformedLine(line: 3)),
        ("= gone", .unknownValue("", line: 1)),
        ("0x = gone", .unknownValue("0x", line: 1)),
        ("0x-5 = gone", .unknownValue("0x-5", line: 1)),
        ("0x+5 = gone", .unknownValue("0x+5", line: 1)),
        ("0x11223344556677889 = gone", .unknownValue("0x11223344556677889", line: 1)),
        ("80000018 = gone", .unknownValue("80000018", line: 1)),
        ("CKR_NONSENSE = gone", .unknownValue("CKR_NONSENSE", line: 1)),
        ("0x80000018 = busy", .unknownClass("busy", line: 1)),
        ("0x80000018 =", .unknownClass("", line: 1)),
        ("0x80000018 = Capacity", .unknownClass("Capacity", line: 1)),
        ("0x80000018 = gone\n0x80000018 = gone", .duplicateValue(line: 2)),
        ("CKR_OK = gone", .successCannotFail(line: 1)),
        ("0x0 = gone", .successCannotFail(line: 1)),
        ("CKR_PIN_INCORRECT = ambiguous", .credentialIsFixed(line: 1)),
        ("0xA4 = capacity", .credentialIsFixed(line: 1)),
        ("# " + String(repeating: "x", count: 200), .lineTooLong(line: 1)),
    ])
    func aLineThatCannotBeReadIsNamed(text: String, expected: FailureTableError) {
        let found = Self.error(text)
        #expect(found == expected)
        #expect(found?.description.isEmpty == false)
    }

    @Test func aCredentialMayBeCalledACredential() throws {
        #expect(Self.error("0x8000000B = gone", vendor: "primus") == .credentialIsFixed(line: 1))
        #expect(Self.error("CKR_PIN_LOCKED = credential\n0x80000042 = credential") == nil)
    }

    @Test func anUnknownVendorIsNamed() {
        #expect(Self.error("", vendor: "acme") == .unknownVendor("acme"))
        #expect(FailureTableError.unknownVendor("acme").description.contains("primus, standard"))
        for vendor in FailureTable.vendors { #expect(Self.error("", vendor: vendor) == nil) }
    }

    @Test func aTableIsBounded() {
        let lines = (0...FailureTable.Limits.overrides).map { "0x8001\(String(1_000 + $0)) = gone\n" }
        #expect(Self.error(lines.dropLast().joined()) == nil)
        #expect(Self.error(lines.joined()) == .tooManyOverrides)
        #expect(Self.error(lines.dropLast().joined(), vendor: "primus") == .tooManyOverrides)
    }
}
