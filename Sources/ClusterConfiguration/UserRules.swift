// Rules for `applications: { users: […] }`: who may use keys through applications. A password in the file is
// refused unless it is a hash, because the file is copied to every node and shown to colleagues.

enum UserRules {
    /// The fields of a crypt(5) hash: an empty one, the scheme, the parameters, the salt, the hash.
    private static let fewestHashFields = 4

    static func users(_ root: inout MappingReader) throws(ConfigurationError) -> [NodeConfiguration.User] {
        guard let value = root.optional("applications") else { return [] }
        var applications = try MappingReader(
            value, file: root.file, key: "applications", expected: "'applications: { users: [] }'")
        let elements = try applications.list(
            "users", upTo: ConfigurationLimits.users,
            example: "[{ name: payments, role: user, passwordHash: '$y$…' }]")
        try applications.finish()
        var users: [NodeConfiguration.User] = []
        for (position, element) in elements.enumerated() {
            var members = try MappingReader(
                element, file: root.file, key: "applications.users[\(position)]",
                expected: "'- name: payments' and the user's other keys")
            let user = try user(&members, line: element.line)
            guard !users.contains(where: { $0.name == user.name }) else {
                throw members.failure(
                    "name", at: element.line, "two users have this name",
                    "Give every user a name of their own.")
            }
            users.append(user)
        }
        return users
    }

    private static func user(
        _ members: inout MappingReader, line: Int
    ) throws(ConfigurationError) -> NodeConfiguration.User {
        let name = try members.text("name", example: "payments")
        guard !name.isEmpty, name.utf8.count <= ConfigurationLimits.userNameBytes, !name.utf8.contains(0x3A)
        else {
            throw members.failure(
                "name", at: line, "this is no user's name",
                "Write 1 to \(ConfigurationLimits.userNameBytes) bytes without a colon.")
        }
        let text = try members.optionalText("role", example: "user") ?? "user"
        guard let role = NodeConfiguration.User.Role(rawValue: text) else {
            throw members.failure(
                "role", at: line, "this is not a role",
                "Write one of \(NodeConfiguration.User.Role.allCases.map(\.rawValue).joined(separator: ", "))."
            )
        }
        let hash = try members.text("passwordHash", example: "'$y$j9T$…'")
        let fields = hash.split(separator: "$", omittingEmptySubsequences: false)
        guard hash.utf8.first == 0x24, fields.count >= fewestHashFields,
            hash.utf8.count <= ConfigurationLimits.passwordHashBytes
        else {
            throw members.failure(
                "passwordHash", at: line, "this is no hash of a password",
                "Make one with 'mkpasswd --method=yescrypt' (package whois), and never write a password here."
            )
        }
        try members.finish()
        return NodeConfiguration.User(name: name, role: role, passwordHash: hash)
    }
}
