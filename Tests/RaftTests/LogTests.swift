// The log's own bookkeeping: which part is written, which is durable, and which configuration is in force.

import ClusterModel
import Testing

@testable import Raft

struct LogTests {
    private func token(_ number: UInt64) -> PersistToken { PersistToken(rawValue: number) }
    private func entry(_ index: UInt64, _ term: UInt64, _ payload: Payload = .noop) -> LogEntry {
        LogEntry(term: Term(term), index: LogIndex(index), payload: payload)
    }
    private func emptyLog() -> Log {
        Log(recovered: RecoveredState(initialConfiguration: VoterConfiguration(voters: [NodeID(1)])))
    }

    @Test func aConfirmationDoesNotCoverEntriesThatWereReplacedMeanwhile() {
        // Entries 1 and 2 are being written when 2 is replaced; the first write says nothing about the new 2.
        var log = emptyLog()
        log.append([entry(1, 1), entry(2, 1)])
        _ = log.takeUnwritten(as: token(1))
        log.truncate(from: LogIndex(2))
        log.append([entry(2, 2)])
        let second = log.takeUnwritten(as: token(2))
        #expect(second.truncateFrom == LogIndex(2))
        #expect(second.entries == [entry(2, 2)])
        log.confirm(through: token(1))
        #expect(log.durableIndex == LogIndex(1))
        log.confirm(through: token(2))
        #expect(log.durableIndex == LogIndex(2))
    }

    @Test func entriesCutOffBeforeTheyWereHandedOutNeedNoDeletion() {
        var log = emptyLog()
        log.append([entry(1, 1), entry(2, 1)])
        log.truncate(from: LogIndex(2))
        #expect(log.truncateFrom == nil)
        #expect(log.takeUnwritten(as: token(1)).entries == [entry(1, 1)])
    }

    @Test func cuttingOffAConfigurationBringsTheEarlierOneBack() {
        let one = VoterConfiguration(voters: [NodeID(1)])
        let two = VoterConfiguration(voters: [NodeID(1), NodeID(2)])
        var log = emptyLog()
        log.append([entry(1, 1), entry(2, 1, .configuration(two)), entry(3, 1)])
        #expect(log.configuration == two)
        #expect(log.configurationIndex == LogIndex(2))
        #expect(log.configuration(at: LogIndex(1)) == one)
        log.truncate(from: LogIndex(2))
        #expect(log.configuration == one)
    }

    @Test func compactionKeepsTermsAndConfigurationsOfWhatIsLeft() {
        let two = VoterConfiguration(voters: [NodeID(1), NodeID(2)])
        var log = emptyLog()
        log.append([entry(1, 1), entry(2, 1, .configuration(two)), entry(3, 2), entry(4, 2)])
        log.compact(
            to: SnapshotMetadata(lastIndex: LogIndex(4), lastTerm: Term(2), configuration: two), keeping: 1)
        #expect(log.baseIndex == LogIndex(3))
        #expect(log.term(at: LogIndex(3)) == Term(2))
        #expect(log.term(at: LogIndex(2)) == nil)
        #expect(log.entries == [entry(4, 2)])
        #expect(log.configuration == two)
        #expect(log.slice(from: LogIndex(3), maxEntries: 9, maxBytes: 999) == [])
    }

    @Test func slicesKeepTheirLimitsButNeverStarve() {
        var log = emptyLog()
        log.append((1...5).map { entry($0, 1, .command([UInt8](repeating: 0, count: 68))) })
        func count(_ entries: Int, _ bytes: Int) -> Int {
            log.slice(from: LogIndex(1), maxEntries: entries, maxBytes: bytes).count
        }
        #expect(count(3, 10_000) == 3)
        #expect(count(9, 250) == 2)
        #expect(count(9, 1) == 1)
    }
}
