// The queue between any thread and the transport's own: bounded, in order, and honest about what it drops.

import ClusterModel
import Testing

@testable import ClusterTransport

@Suite struct LinkLedgerTests {
    private let node = NodeID(2)

    private func ledger(limit: Int) -> LinkLedger {
        let ledger = LinkLedger(maxQueuedBytes: limit)
        ledger.setPeers([node])
        return ledger
    }

    private func frame(_ number: UInt16, bytes: Int = 2) -> Frame {
        Frame(kind: number, payload: Array(repeating: UInt8(truncatingIfNeeded: number), count: bytes))
    }

    @Test func nothingIsQueuedWithoutALink() {
        let ledger = ledger(limit: 100)
        #expect(ledger.enqueue(frame(1), to: node) == .noLink)
        #expect(ledger.enqueue(frame(1), to: NodeID(9)) == .noLink)
        #expect(ledger.statistics.refusedWithoutLink == 2)
    }

    @Test func framesLeaveInOrderAndOnlyTheFirstAsksForAFlush() throws {
        let ledger = ledger(limit: 1 << 20)
        ledger.linkIsUp(node, version: 1)
        for number in 0..<5000 as Range<UInt16> {
            #expect(ledger.enqueue(frame(number), to: node) == .queued(needsFlush: number == 0))
        }
        var parser = FrameParser(maxFrameBytes: 10)
        var found: [Frame] = []
        while case let batch = ledger.takeEncoded(for: node, limit: 100), !batch.isEmpty {
            parser.append(batch)
            while let next = try parser.next() { found.append(next) }
        }
        #expect(found == (0..<5000).map { frame($0) })
        #expect(ledger.statistics.links.first?.queuedBytes == 0)
        ledger.flushBegins(for: node)
        #expect(ledger.enqueue(frame(1), to: node) == .queued(needsFlush: true))
    }

    @Test func fullQueueRefusesTheNewest() {
        let ledger = ledger(limit: 25)
        ledger.linkIsUp(node, version: 1)
        #expect(ledger.enqueue(frame(1), to: node) == .queued(needsFlush: true))
        #expect(ledger.enqueue(frame(2), to: node) == .queued(needsFlush: false))
        #expect(ledger.enqueue(frame(3), to: node) == .queueFull)
        #expect(ledger.statistics.refusedQueueFull == 1)
        _ = ledger.takeEncoded(for: node, limit: 1)
        #expect(ledger.enqueue(frame(4), to: node) == .queued(needsFlush: false))
    }

    @Test func brokenLinkLosesAndCountsWhatWaited() {
        let ledger = ledger(limit: 100)
        ledger.linkIsUp(node, version: 3)
        _ = ledger.enqueue(frame(1), to: node)
        _ = ledger.enqueue(frame(2), to: node)
        #expect(ledger.protocolVersion(with: node) == 3)
        ledger.linkIsDown(node)
        #expect(ledger.statistics.framesLostWithLink == 2)
        #expect(ledger.protocolVersion(with: node) == nil)
        ledger.linkIsUp(node, version: 1)
        #expect(ledger.takeEncoded(for: node, limit: 100).isEmpty)
    }
}
