// Who may use keys through a token host. The node's configuration names users; the token host, which alone
// sees their passwords, gets their hashes (crypt(5)). No application password is ever shown to an HSM.

/// A user of applications.
public struct ApplicationUser: Hashable, Sendable, Codable {
    /// What a user may do.
    public enum Role: String, Hashable, Sendable, Codable, CaseIterable {
        /// Uses keys.
        case user
        /// Reads attributes and verifies.
        case observer
    }

    /// The name, unique.
    public var name: String
    /// What the user may do.
    public var role: Role
    /// The password's hash (crypt(5)).
    public var passwordHash: String

    /// Puts a user together.
    public init(name: String, role: Role, passwordHash: String) {
        self.name = name
        self.role = role
        self.passwordHash = passwordHash
    }
}
