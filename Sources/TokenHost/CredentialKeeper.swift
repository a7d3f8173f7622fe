import ClusterModel
import PKCS11
import TokenHostLink

// The rule of this file: a PIN that a token has rejected is never sent to it again, whoever asks and however
// often the process restarts, until an operator says so or puts another PIN into the source.

/// Guards the PIN of one endpoint. Used by the custodian's thread only.
struct CredentialKeeper {
    private let reader: PINReader
    private let file: CredentialRecordFile
    private let log: HostLog
    /// What was rejected in this process, in case that the disk refused to take it down.
    private var rejectedHere: [String] = []
    /// The state reported last when the source has no fingerprint.
    private var stateOfVariable: PINState?

    init(source: PINSource, recordPath: String, log: HostLog) {
        reader = PINReader(source: source)
        file = CredentialRecordFile(path: recordPath)
        self.log = log
    }

    /// What is known of the PIN that the source holds now. A file is not read for it: when it has changed
    /// since it was read last, its PIN is untried as far as anyone knows.
    mutating func state() -> PINState {
        guard var record = try? file.load() else { return .rejected }
        record.settleInterruption()
        if let fingerprint = reader.fingerprint() {
            return fingerprint == record.fingerprint ? record.state : .untried
        }
        guard case .environment = reader.source else { return record.state }
        // A variable can't change while the process lives, so it is looked at once, and after attempts.
        if let stateOfVariable { return stateOfVariable }
        let state = examineVariable(record)
        stateOfVariable = state
        return state
    }

    /// Reads the PIN and lets `attempt` send it to the token, unless it was rejected before. With
    /// `onlyAccepted`, also not unless it was accepted before.
    /// - Throws: what the attempt throws, with rejections turned into `.credentialRejected`.
    mutating func logIn(
        onlyAccepted: Bool, attempt: (borrowing SecretBytes) throws(EndpointFailure) -> Void
    ) throws(EndpointFailure) {
        var record = try file.load()
        record.settleInterruption()
        let fingerprint = reader.fingerprint()
        let pin = try reader.read()
        record.fingerprint = fingerprint
        stateOfVariable = nil

        guard !isRejected(pin, record) else {
            record.state = .rejected
            try file.save(record)
            throw EndpointFailure(
                .credentialRejected,
                detail: "\(reader.name) holds a PIN that the token has rejected; it isn't tried again: "
                    + "correct the PIN, or retry the login explicitly")
        }
        let accepted = record.accepted.flatMap { PINHash.matches(pin, $0) ? $0 : nil }
        guard accepted != nil || !onlyAccepted else {
            throw EndpointFailure(
                .notLoggedIn, detail: "the login was lost, and \(reader.name) holds another PIN now: log in")
        }
        guard let hash = accepted ?? PINHash.make(pin) else {
            throw EndpointFailure(.pinUnavailable, detail: "the PIN in \(reader.name) can't be recorded")
        }
        record.state = accepted == nil ? .untried : .accepted
        let earlier = record.attempting.map { $0.hash == hash ? $0.count : 0 } ?? 0
        record.attempting = CredentialRecord.Attempt(hash: hash, count: earlier + 1)
        try file.save(record)
        try send(pin, hash, record, attempt)
    }

    /// Forgets what was rejected: the PIN may be tried once more.
    mutating func forget() throws(EndpointFailure) {
        rejectedHere = []
        stateOfVariable = nil
        // Nothing else worth keeping, or a file that can't be understood.
        guard var record = try? file.load(), record.accepted != nil else { return try file.remove() }
        record.settleInterruption()
        record.rejected = []
        if record.state == .rejected {
            record.state = .untried
            record.fingerprint = nil
        }
        try file.save(record)
    }

    private mutating func send(
        _ pin: borrowing SecretBytes, _ hash: String, _ before: CredentialRecord,
        _ attempt: (borrowing SecretBytes) throws(EndpointFailure) -> Void
    ) throws(EndpointFailure) {
        var record = before
        do throws(EndpointFailure) {
            try attempt(pin)
            record.accept(hash)
        } catch {
            guard FailureMeaning.isRejectedPIN(error) else {
                // Not the PIN's fault: everything as before.
                record.attempting = nil
                saveOutcome(record)
                throw error
            }
            record.reject(hash)
            rejectedHere.append(hash)
            saveOutcome(record)
            throw EndpointFailure(
                .credentialRejected, function: error.function, returnValue: error.returnValue,
                detail: "the token rejected the PIN in \(reader.name): \(error.detail)")
        }
        saveOutcome(record)
    }

    /// The attempt itself is on the disk already; losing its outcome errs on the safe side after a restart.
    private func saveOutcome(_ record: CredentialRecord) {
        do throws(EndpointFailure) {
            try file.save(record)
        } catch {
            log.line("the outcome of the login isn't recorded: \(error.detail)")
        }
    }

    private func isRejected(_ pin: borrowing SecretBytes, _ record: CredentialRecord) -> Bool {
        for hash in record.rejected + rejectedHere.filter({ !record.rejected.contains($0) })
        where PINHash.matches(pin, hash) {
            return true
        }
        return false
    }

    private func examineVariable(_ record: CredentialRecord) -> PINState {
        if record == CredentialRecord() { return .untried }
        guard let pin = try? reader.read() else { return record.state }
        if isRejected(pin, record) { return .rejected }
        guard let accepted = record.accepted, PINHash.matches(pin, accepted) else { return .untried }
        return .accepted
    }
}
