import ClusterModel
import TokenHostLink
import WireFormat

// What a node remembers of PINs across restarts. HSMs lock after a few wrong PINs, and a program that starts
// again and again with a stale one is how partitions get locked. So every attempt is on the disk before the
// token hears of it. If no outcome follows, the process died in between, and nobody knows whether the token
// counted a wrong try. Then a PIN that was never accepted counts as rejected; one that had been accepted may
// be tried again a few times in a row, because it is most likely right.

/// The content of the credential record file.
struct CredentialRecord: Hashable, Sendable, Codable {
    /// The most rejected PINs that are remembered; then the oldest is forgotten.
    static let rejectedBound = 8
    /// So many attempts in a row without an outcome make an accepted PIN count as rejected.
    static let interruptionBound = 3
    /// The most bytes of the file.
    static let fileBytes = 16 << 10

    /// An attempt whose outcome is not known (yet).
    struct Attempt: Hashable, Sendable, Codable {
        /// The hash of the PIN that was tried.
        var hash: String
        /// Attempts with this PIN in a row that were interrupted, this one included.
        var count: Int
    }

    /// Hashes of PINs that the token rejected, oldest first.
    var rejected: [String] = []
    /// The hash of the PIN that the token accepted last.
    var accepted: String?
    /// Set while C_Login runs.
    var attempting: Attempt?
    /// The source's fingerprint when it was read last, and what was found out about the PIN in it.
    var fingerprint: [UInt64]?
    /// See `fingerprint`.
    var state = PINState.untried

    /// Moves an interrupted attempt to where it counts: see the head of this file.
    mutating func settleInterruption() {
        guard let attempt = attempting, !isTrusted(attempt) else { return }
        reject(attempt.hash)
    }

    /// True when a PIN whose attempt was interrupted may be tried again.
    private func isTrusted(_ attempt: Attempt) -> Bool {
        attempt.hash == accepted && attempt.count < Self.interruptionBound
    }

    /// Remembers a rejected PIN and ends the attempt.
    mutating func reject(_ hash: String) {
        rejected.removeAll { $0 == hash }
        rejected.append(hash)
        if rejected.count > Self.rejectedBound { rejected.removeFirst() }
        if accepted == hash { accepted = nil }
        attempting = nil
        state = .rejected
    }

    /// Remembers an accepted PIN and ends the attempt.
    mutating func accept(_ hash: String) {
        accepted = hash
        attempting = nil
        state = .accepted
    }
}

/// Where the record is kept.
struct CredentialRecordFile: Sendable {
    /// The file's path.
    let path: String

    /// The record; an empty one when there is no file.
    /// - Throws: `.credentialRejected` when there is a file that can't be understood: it may say that the PIN
    ///   is wrong, so none is tried.
    func load() throws(EndpointFailure) -> CredentialRecord {
        do {
            let bytes = try SystemFile.read(path, bound: CredentialRecord.fileBytes)
            return try CBORDecoder.decode(CredentialRecord.self, from: bytes)
        } catch let error as SystemCallError where error.isNoSuchFile {
            return CredentialRecord()
        } catch {
            throw EndpointFailure(
                .credentialRejected,
                detail: "the record of login attempts \(path) can't be read, so no PIN is tried: check the "
                    + "PIN, then retry the login")
        }
    }

    /// Puts the record on the disk; returns only when it would survive a power cut.
    /// - Throws: `.pinUnavailable` when that failed.
    func save(_ record: CredentialRecord) throws(EndpointFailure) {
        do {
            try SystemFile.write(try CBOREncoder.encode(record), to: path + ".new", durably: true)
            try SystemFile.rename(path + ".new", to: path, durably: true)
        } catch {
            throw EndpointFailure(
                .pinUnavailable,
                detail: "login attempts can't be recorded in \(path), so no PIN is tried: \(error)")
        }
    }

    /// Removes the record.
    func remove() throws(EndpointFailure) {
        do {
            try SystemFile.remove(path, durably: true)
        } catch {
            throw EndpointFailure(.pinUnavailable, detail: "cannot remove \(path): \(error)")
        }
    }
}

extension SystemCallError {
    /// True for ENOENT.
    var isNoSuchFile: Bool { code == 2 }
}
