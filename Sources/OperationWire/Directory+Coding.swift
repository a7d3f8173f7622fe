import ClusterModel

// The bytes of a directory file: a magic number with the version, the length and a checksum (FNV-1a, 64 bits: against
// a file cut short or damaged, not against a forger, whom the file's owner and mode keep out), then the fields in
// the order of their declaration.

extension Directory {
    private static let magic: [UInt8] = Array("HSMCDIR1".utf8)

    /// The directory as the bytes of its file.
    /// - Throws: `WireError.tooLarge` when something is beyond its bound.
    public func encode() throws(WireError) -> [UInt8] {
        guard endpoints.count <= DirectoryLimits.endpoints, keys.count <= DirectoryLimits.keys,
            mechanisms.count <= DirectoryLimits.mechanisms
        else { throw .tooLarge }
        var body = ByteWriter(capacity: 4_096 + keys.count * 256)
        body.write(epoch)
        for text in [clusterName, tokenLabel, tokenSerialNumber] { try Self.write(text, into: &body) }
        body.write(deadlineMilliseconds)
        body.write(hedgeMilliseconds)
        body.write(loginRequired)
        body.write(UInt32(endpoints.count))
        for endpoint in endpoints { try endpoint.encode(into: &body) }
        body.write(UInt32(mechanisms.count))
        for mechanism in mechanisms {
            body.write(mechanism.type)
            body.write(mechanism.minimumKeySize)
            body.write(mechanism.maximumKeySize)
            body.write(mechanism.flags)
        }
        body.write(UInt32(keys.count))
        for key in keys { try key.encode(into: &body, endpointCount: endpoints.count) }
        guard body.bytes.count <= DirectoryLimits.fileBytes else { throw .tooLarge }
        var file = ByteWriter(capacity: body.bytes.count + 24)
        file.append(Self.magic)
        file.write(UInt64(body.bytes.count))
        file.write(body.bytes.withUnsafeBytes { FNV1a.hash($0) })
        file.append(body.bytes)
        return file.bytes
    }

    /// Reads the bytes of a directory file.
    /// - Parameter bytes: Memory that nobody else can change.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count <= DirectoryLimits.fileBytes + 24 else { throw .tooLarge }
        var reader = ByteReader(bytes)
        try reader.expect(Self.magic)
        let length = try reader.uint64()
        let checksum = try reader.uint64()
        guard length <= UInt64(reader.remaining) else { throw .truncated }
        guard length == UInt64(reader.remaining) else { throw .trailingBytes }
        guard FNV1a.hash(UnsafeRawBufferPointer(rebasing: bytes[24...])) == checksum else {
            throw .damaged
        }
        epoch = try reader.uint64()
        clusterName = try reader.text(limit: DirectoryLimits.textBytes)
        tokenLabel = try reader.text(limit: DirectoryLimits.textBytes)
        tokenSerialNumber = try reader.text(limit: DirectoryLimits.textBytes)
        deadlineMilliseconds = try reader.uint32()
        hedgeMilliseconds = try reader.uint32()
        loginRequired = try reader.bool()
        endpoints = []
        mechanisms = []
        keys = []
        let endpointCount = try reader.count(limit: DirectoryLimits.endpoints, elementBytes: 28)
        for _ in 0..<endpointCount { endpoints.append(try Endpoint(from: &reader)) }
        let mechanismCount = try reader.count(limit: DirectoryLimits.mechanisms, elementBytes: 32)
        for _ in 0..<mechanismCount {
            let type = try reader.uint64()
            let minimum = try reader.uint64()
            let maximum = try reader.uint64()
            mechanisms.append(
                MechanismDescription(
                    type: type, minimumKeySize: minimum, maximumKeySize: maximum,
                    flags: try reader.uint64()))
        }
        let keyCount = try reader.count(limit: DirectoryLimits.keys, elementBytes: 52)
        keys.reserveCapacity(keyCount)
        for _ in 0..<keyCount { keys.append(try Key(from: &reader, endpointCount: endpointCount)) }
        try reader.end()
    }

    /// Reads a directory from an array.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        self = try decodeBytes(bytes) { raw throws(WireError) in try Directory(decoding: raw) }
    }

    fileprivate static func write(
        _ text: String, into writer: inout ByteWriter, limit: Int = DirectoryLimits.textBytes
    ) throws(WireError) {
        guard text.utf8.count <= limit else { throw .tooLarge }
        writer.write(text)
    }
}

extension Directory.Endpoint {
    fileprivate func encode(into writer: inout ByteWriter) throws(WireError) {
        try Directory.write(name, into: &writer)
        writer.write(service.rawValue)
        writer.write(weight)
        writer.write(priority)
        writer.write(concurrencyLimit)
        try Directory.write(socketPath, into: &writer)
        try Directory.write(failureVendor, into: &writer)
        try Directory.write(failureOverrides, into: &writer, limit: DirectoryLimits.overrideBytes)
    }

    fileprivate init(from reader: inout ByteReader) throws(WireError) {
        name = try reader.text(limit: DirectoryLimits.textBytes)
        let raw = try reader.byte()
        guard let service = Service(rawValue: raw) else { throw .unknownTag(UInt64(raw)) }
        self.service = service
        weight = try reader.uint32()
        priority = try reader.uint32()
        concurrencyLimit = try reader.uint32()
        socketPath = try reader.text(limit: DirectoryLimits.textBytes)
        failureVendor = try reader.text(limit: DirectoryLimits.textBytes)
        failureOverrides = try reader.text(limit: DirectoryLimits.overrideBytes)
    }
}

extension Directory.Key {
    fileprivate func encode(into writer: inout ByteWriter, endpointCount: Int) throws(WireError) {
        guard number > 0, number <= DirectoryLimits.keyNumber, attributes.count <= DirectoryLimits.attributes,
            replicas.count <= endpointCount, identifier.count <= OperationLimits.identifierBytes
        else { throw .tooLarge }
        writer.write(number)
        writer.write(objectClass)
        writer.write(keyType)
        try Directory.write(label, into: &writer)
        writer.write(identifier)
        writer.write(length)
        writer.write(flags.rawValue)
        writer.write(UInt32(attributes.count))
        for attribute in attributes {
            guard attribute.value.count <= OperationLimits.attributeBytes else { throw .tooLarge }
            writer.write(attribute.type)
            writer.write(attribute.value)
        }
        writer.write(UInt32(replicas.count))
        for replica in replicas {
            guard replica.endpoint < endpointCount,
                replica.identifier.count <= OperationLimits.identifierBytes
            else { throw .tooLarge }
            writer.write(replica.endpoint)
            writer.write(replica.identifier)
        }
    }

    fileprivate init(from reader: inout ByteReader, endpointCount: Int) throws(WireError) {
        number = try reader.uint64()
        guard number > 0, number <= DirectoryLimits.keyNumber else { throw .tooLarge }
        objectClass = try reader.uint64()
        keyType = try reader.uint64()
        label = try reader.text(limit: DirectoryLimits.textBytes)
        identifier = try reader.bytes(limit: OperationLimits.identifierBytes)
        length = try reader.uint64()
        flags = Flags(rawValue: try reader.uint32())
        attributes = []
        replicas = []
        let attributeCount = try reader.count(limit: DirectoryLimits.attributes, elementBytes: 12)
        for _ in 0..<attributeCount {
            let type = try reader.uint64()
            attributes.append(
                Directory.Attribute(
                    type: type, value: try reader.bytes(limit: OperationLimits.attributeBytes)))
        }
        let replicaCount = try reader.count(limit: endpointCount, elementBytes: 8)
        for _ in 0..<replicaCount {
            let endpoint = try reader.uint32()
            guard endpoint < endpointCount else { throw .tooLarge }
            replicas.append(
                Replica(
                    endpoint: endpoint, identifier: try reader.bytes(limit: OperationLimits.identifierBytes)))
        }
    }
}
