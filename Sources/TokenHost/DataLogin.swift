import OperationWire
import PKCS11
import TokenHostLink

// Applications' logins. A wrong password is counted for its user, whichever client sends it; after a few in a
// row further ones are refused unseen for a while that doubles each time, so that guessing takes for ever and
// a forgotten password costs seconds. Nothing of it reaches the HSM. Names that don't exist share one count,
// and take as long.

/// Checks passwords. Used from any thread.
final class DataLogin: Sendable {
    /// Wrong passwords in a row that cost nothing but the time of hashing.
    static let freeAttempts = 3
    /// The first wait; doubled with each further wrong password.
    static let firstWaitMilliseconds: Int64 = 1_000
    /// The longest wait.
    static let longestWaitMilliseconds: Int64 = 60_000

    fileprivate struct Count {
        var wrong = 0
        var until = HostInstant.now
    }

    private let users: [ApplicationUser]
    private let counts = Monitor<[String: Count]>([:])

    init(users: [ApplicationUser]) { self.users = users }

    /// True when applications have to log in.
    var isRequired: Bool { !users.isEmpty }

    /// The role of a user whose password is right. Takes tens of milliseconds; wipes the password.
    func logIn(user: [UInt8], password: inout [UInt8]) throws(DataRefusal) -> ApplicationUser.Role {
        // Taken over at once, so that it is wiped whatever happens.
        let secret = SecretBytes(moving: &password)
        guard let first = users.first else { throw DataRefusal(.userPINNotInitialized) }
        let name = String(decoding: user, as: UTF8.self)
        let known = users.first { $0.name == name }
        let key = known?.name ?? ""
        guard counts.look({ ($0[key]?.until).map { $0 <= HostInstant.now } ?? true }) else {
            throw DataRefusal(.pinLocked)
        }
        guard let secret, PINHash.matches(secret, (known ?? first).passwordHash), let known
        else {
            counts.change { $0[key, default: Count()].count() }
            throw DataRefusal(.pinIncorrect)
        }
        counts.change { $0[key] = nil }
        return known.role
    }

    /// Whether a role may do something; nil stands for nobody who has logged in.
    static func permits(_ role: ApplicationUser.Role?, _ operation: OperationWire.Operation)
        throws(DataRefusal)
    {
        switch operation {
        case .logIn, .logOut, .closeSession, .cancel, .randomBytes, .seedRandom, .streamAbandon,
            .data(.digest, key: _, _, input: _, signature: _):
            return
        case .getAttributes, .objectSize, .data(.verify, key: _, _, input: _, signature: _):
            guard role != nil else { throw DataRefusal(.userNotLoggedIn) }
        default:
            guard let role else { throw DataRefusal(.userNotLoggedIn) }
            guard role == .user else { throw DataRefusal(.keyFunctionNotPermitted) }
        }
    }
}

extension DataLogin.Count {
    fileprivate mutating func count() {
        wrong += 1
        let beyond = wrong - DataLogin.freeAttempts
        guard beyond >= 0 else { return }
        let wait = min(
            DataLogin.firstWaitMilliseconds << Int64(min(beyond, 16)), DataLogin.longestWaitMilliseconds)
        until = HostInstant.now.adding(milliseconds: wait)
    }
}
