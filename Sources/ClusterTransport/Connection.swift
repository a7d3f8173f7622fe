// A socket with its two Dispatch sources, around a LinkMachine. libdispatch on Linux has an open report of
// a use-after-free when sources are made and torn down in several threads at once, and a descriptor that
// is closed while a source still watches it can hit a stranger's connection. Hence: sources are made and
// cancelled on one serial queue only, the descriptor is closed by the cancel handler of the last of its
// sources and nowhere else, and the write source, which most connections never need, is made when the
// kernel's buffer is first full. Source: dispatch_source_create(3); swift-corelibs-libdispatch issue 949.

import ClusterModel
import Dispatch
import Glibc

/// One TCP connection, from birth to the closing of its descriptor.
final class Connection: @unchecked Sendable {
    // Safe to share: every member is used on the transport's serial queue only; each entry point is a
    // source handler of that queue or is called from `TransportCore`, which checks the queue.

    let number: UInt64
    let role: LinkMachine.Role
    /// The other side's address, for reports.
    let remote: String
    /// When this connection must have become a link.
    var deadline: DispatchTime
    private(set) var isConnecting: Bool
    private(set) var isClosed = false
    let machine: LinkMachine

    private let descriptor: Int32
    private let core: TransportCore
    private var readSource: (any DispatchSourceRead)?
    private var writeSource: (any DispatchSourceWrite)?
    private var isWriteSourceRunning = false
    private var isReadingSuspended = false
    private var liveSources = 0
    private var unsent: ArraySlice<UInt8> = []
    private var undeliveredBytes = 0

    private static let readBytes = 64 * 1024
    private static let readsPerEvent = 4
    private static let batchBytes = 64 * 1024
    private static let bytesPerFlush = 1 << 20
    /// Ample for a source to be registered with the kernel.
    private static let registrationTime = DispatchTimeInterval.milliseconds(50)

    /// Takes over `descriptor`. A dialer's may still be connecting.
    init(
        number: UInt64, descriptor: Int32, role: LinkMachine.Role, remote: String, deadline: DispatchTime,
        machine: LinkMachine, core: TransportCore
    ) {
        self.number = number
        self.descriptor = descriptor
        self.role = role
        self.remote = remote
        self.deadline = deadline
        self.machine = machine
        self.core = core
        isConnecting = role != .acceptor
    }

    /// The node at the other end, once the link is up.
    var linkedNode: NodeID? {
        guard case .linked(let node, _) = machine.phase else { return nil }
        return node
    }

    /// What it means when `deadline` passes.
    var deadlineFailure: LinkFailure { isConnecting ? .connectTimedOut : machine.deadlineFailure }

    /// Starts to watch the socket.
    func open() {
        if isConnecting { return startWriteSource() }
        startReadSource()
        // A connection that was reset before its source watched it is never reported (seen with the libdispatch
        // of Swift 6.3), and would keep a place until its deadline: only a read tells. The source is registered
        // by another thread, hence once more a little later.
        readReady()
        core.queue.asyncAfter(deadline: .now() + Connection.registrationTime) { [weak self] in
            self?.readReady()
        }
    }

    // MARK: Reading

    private func readReady() {
        guard !isClosed, !isReadingSuspended else { return }
        for _ in 0..<Connection.readsPerEvent {
            let got = core.scratch.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            if got < 0 {
                if errno == EAGAIN || errno == EINTR { break }
                return core.close(self, because: .connectionLost(errno: errno))
            }
            guard got > 0 else { return core.close(self, because: .closedByPeer) }
            process(got)
            if isClosed || isReadingSuspended { return }
            if got < core.scratch.count { break }
        }
        flush()
    }

    private func process(_ count: Int) {
        var outputs: [LinkMachine.Output] = []
        var failure: LinkFailure?
        core.scratch.withUnsafeBytes { buffer in
            do throws(LinkFailure) {
                try machine.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]), into: &outputs)
            } catch { failure = error }
        }
        if !outputs.isEmpty { core.handle(outputs, of: self) }
        if let failure { core.close(self, because: failure) }
    }

    /// So many bytes went to the event handler. Above the bound, reading pauses.
    func delivered(bytes: Int) {
        undeliveredBytes += bytes
        guard undeliveredBytes > core.settings.maxUndeliveredBytesPerLink, !isReadingSuspended, !isClosed
        else { return }
        isReadingSuspended = true
        readSource?.suspend()
    }

    /// The event handler is done with so many bytes.
    func credit(bytes: Int) {
        undeliveredBytes -= bytes
        guard undeliveredBytes <= core.settings.maxUndeliveredBytesPerLink / 2, isReadingSuspended, !isClosed
        else { return }
        isReadingSuspended = false
        readSource?.resume()
    }

    // MARK: Writing

    private func writeReady() {
        guard !isClosed else { return }
        if isConnecting {
            let number = SystemCalls.pendingError(of: descriptor)
            guard number == 0 else { return core.close(self, because: .connectFailed(errno: number)) }
            isConnecting = false
            core.connected(self)
            startReadSource()
            process(0)
            guard !isClosed else { return }
        }
        flush()
    }

    /// Sends what waits, unless the kernel's buffer is full and will report itself.
    func flushWhenPossible() {
        if !isWriteSourceRunning { flush() }
    }

    /// Sends what waits until the kernel takes no more.
    private func flush() {
        guard !isClosed, !isConnecting else { return }
        var sent = 0
        while sent < Connection.bytesPerFlush {
            if unsent.isEmpty { unsent = machine.takeCiphertext(upTo: Connection.batchBytes)[...] }
            if unsent.isEmpty {
                guard let node = linkedNode else { break }
                let batch = core.ledger.takeEncoded(for: node, limit: Connection.batchBytes)
                guard !batch.isEmpty else { break }
                do throws(LinkFailure) { try machine.send(batch) } catch {
                    return core.close(self, because: error)
                }
                continue
            }
            let count = sendUnsent()
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return runWriteSource() }
                return core.close(self, because: .connectionLost(errno: errno))
            }
            sent += count
        }
        // After a full share, let the other links have their turn; the socket is writable, so it comes back.
        if sent >= Connection.bytesPerFlush { runWriteSource() } else { pauseWriteSource() }
    }

    private func sendUnsent() -> Int {
        let count = unsent.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if count > 0 { unsent = unsent.dropFirst(count) }
        return count
    }

    // MARK: Closing

    /// Says goodbye as far as that goes without waiting, and gives the descriptor up. Only `TransportCore`
    /// calls it, once it has forgotten this connection.
    func shutDown(because failure: LinkFailure) {
        guard !isClosed else { return }
        isClosed = true
        if !isConnecting {
            switch failure {
            case .closedByPeer, .connectionLost, .refusedByPeer: break
            default: sendFarewell(failure)
            }
        }
        // Cancelled before resumed, so that no event handler runs any more.
        readSource?.cancel()
        if isReadingSuspended { readSource?.resume() }
        writeSource?.cancel()
        if !isWriteSourceRunning { writeSource?.resume() }
    }

    private func sendFarewell(_ failure: LinkFailure) {
        machine.refuse(because: failure)
        // Half a TLS record can't be abandoned, so what waited goes first.
        if unsent.isEmpty || sendUnsent() > 0, unsent.isEmpty {
            unsent = machine.takeCiphertext(upTo: Connection.batchBytes)[...]
            _ = sendUnsent()
        }
        // Unread bytes at close would make the kernel answer with a reset, which can overtake the farewell.
        shutdown(descriptor, Int32(SHUT_WR))
        _ = core.scratch.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
    }

    // MARK: Sources

    private func startReadSource() {
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: core.queue)
        source.setEventHandler { [unowned self] in readReady() }
        source.setCancelHandler { self.sourceEnded() }
        readSource = source
        liveSources += 1
        source.activate()
    }

    private func startWriteSource() {
        let source = DispatchSource.makeWriteSource(fileDescriptor: descriptor, queue: core.queue)
        source.setEventHandler { [unowned self] in writeReady() }
        source.setCancelHandler { self.sourceEnded() }
        writeSource = source
        liveSources += 1
        isWriteSourceRunning = true
        source.activate()
    }

    private func runWriteSource() {
        guard !isWriteSourceRunning else { return }
        guard let writeSource else { return startWriteSource() }
        isWriteSourceRunning = true
        writeSource.resume()
    }

    private func pauseWriteSource() {
        guard isWriteSourceRunning else { return }
        isWriteSourceRunning = false
        writeSource?.suspend()
    }

    private func sourceEnded() {
        liveSources -= 1
        guard liveSources == 0 else { return }
        close(descriptor)
        readSource = nil
        writeSource = nil
        core.descriptorClosed()
    }
}
