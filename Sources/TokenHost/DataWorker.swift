import ClusterModel
import OperationWire
import PKCS11
import RingLink

// One thread of the data path: its session, the handles of the cluster's keys that it has found, and what to
// do when one of them has gone stale. A handle is found by CKA_CLASS and CKA_ID and kept; when the module no
// longer knows it, it is found again, once. A lost session is reopened, a lost login restored, within the
// caller's deadline.

/// Serves requests on one session. Confined to its thread.
final class DataWorker: RingWorker {
    private static let attempts = 3
    /// The most handles that are kept; then all are found anew.
    private static let keptHandles = 65_536

    private let service: DataService
    private var own: DataSession?
    private var handles: [ObjectReference: ObjectHandle] = [:]

    init(_ service: DataService) { self.service = service }

    func rest() {}

    func serve(
        _ request: UnsafeRawBufferPointer, from client: UInt64, deadline: Int64, into reply: inout [UInt8]
    ) {
        guard var decoded = try? OperationRequest(decoding: request) else {
            let answer = OperationReply(
                number: 0, returnValue: UInt64(ReturnValue.argumentsBad.rawValue), origin: .tokenHost)
            reply = (try? answer.encode()) ?? []
            return
        }
        defer { decoded.wipe() }
        let answer = answer(decoded, client, deadline)
        do throws(WireError) {
            reply = try answer.encode()
        } catch {
            let tooLarge = OperationReply(
                number: decoded.number, returnValue: UInt64(ReturnValue.deviceMemory.rawValue))
            reply = (try? tooLarge.encode()) ?? []
        }
    }

    private func answer(_ request: OperationRequest, _ number: UInt64, _ deadline: Int64) -> OperationReply {
        func reply(
            _ value: ReturnValue, _ origin: OperationReply.Origin, _ body: OperationReply.Body = .none
        ) -> OperationReply {
            OperationReply(
                number: request.number, returnValue: UInt64(value.rawValue), origin: origin, body: body)
        }
        guard let client = service.clients.find(number) else { return reply(.deviceRemoved, .tokenHost) }
        var last = reply(.functionFailed, .tokenHost)
        for _ in 0..<Self.attempts where RingClock.now() < deadline {
            do {
                return reply(.ok, .module, try perform(request, client))
            } catch let refusal as DataRefusal {
                last = reply(refusal.returnValue, .tokenHost)
                guard refusal == .keyHandle, !isLoggedIn() else { return last }
                // Without a login a token hides its keys.
                guard restoreLogin(until: deadline) else { return reply(.userNotLoggedIn, .tokenHost) }
            } catch let error as PKCS11Error {
                let value = error.returnValue == .answerOutOfBounds ? .deviceError : error.returnValue
                last = reply(value, .module)
                guard recover(error, request, deadline) else { return last }
            } catch {
                // There is no token at the moment.
                return reply(.tokenNotPresent, .tokenHost)
            }
        }
        return last
    }

    // MARK: - When something went wrong

    /// True when the operation is worth another attempt: nothing has happened yet, and the reason is mended.
    private func recover(_ error: PKCS11Error, _ request: OperationRequest, _ deadline: Int64) -> Bool {
        switch error.returnValue {
        case .keyHandleInvalid, .objectHandleInvalid:
            // At most once with fresh handles.
            guard !handles.isEmpty else { return false }
            handles = [:]
            return true
        case .sessionHandleInvalid, .sessionClosed:
            drop()
            return true
        case .userNotLoggedIn:
            drop()
            return restoreLogin(until: deadline)
        case .operationActive, .bufferTooSmall, .answerOutOfBounds:
            // The session is in the middle of something.
            drop()
            return error.returnValue == .operationActive
        case .generalError, .functionFailed, .deviceError, .deviceRemoved, .tokenNotPresent,
            .cryptokiNotInitialized:
            drop()
            service.custodian.lookSoon()
            return false
        default: return false
        }
    }

    private func drop() {
        own = nil
        handles = [:]
    }

    private func isLoggedIn() -> Bool {
        guard let own = try? ownSession() else { return true }
        return ((try? own.session.info())?.loggedIn ?? .user) == .user && service.custodian.login().stands
    }

    private func restoreLogin(until deadline: Int64) -> Bool {
        let login = service.custodian.login()
        let left = max(0, deadline - RingClock.now()) / 1_000_000
        do throws(EndpointFailure) {
            try service.custodian.restoreLogin(
                newerThan: login.number, until: HostInstant.now.adding(milliseconds: left))
            return true
        } catch {
            return false
        }
    }

    // MARK: - Sessions and objects

    private func openSession() throws -> DataSession {
        DataSession(try service.custodian.dataToken().openSession(readWrite: true))
    }

    private func ownSession() throws -> DataSession {
        if let own { return own }
        let opened = try openSession()
        own = opened
        return opened
    }

    /// The handle of an object in this process.
    private func find(
        _ reference: ObjectReference, _ client: DataClient, _ absent: DataRefusal = .keyHandle
    ) throws -> ObjectHandle {
        if case .hostObject(let handle, let incarnation) = reference {
            guard incarnation == service.incarnation, client.owns(UInt(handle)) else {
                throw DataRefusal.objectHandle
            }
            return ObjectHandle(number: UInt(handle))
        }
        if let known = handles[reference] { return known }
        guard case .clusterKey(let objectClass, let identifier) = reference else { throw absent }
        let template = Template {
            $0[.objectClass] = ObjectClass(rawValue: UInt(objectClass))
            $0[.id] = identifier
        }
        guard let found = try ownSession().session.findObjects(matching: template, limit: 1).first else {
            throw absent
        }
        if handles.count >= Self.keptHandles { handles = [:] }
        handles[reference] = found
        return found
    }

    private func mechanism(_ wire: WireMechanism, _ client: DataClient) throws -> Mechanism {
        var failure: (any Error)?
        let mechanism = try DataTranslation.mechanism(wire) { reference throws(DataRefusal) in
            do {
                return try find(reference, client)
            } catch {
                failure = error
                throw DataRefusal.keyHandle
            }
        }
        if let failure { throw failure }
        return mechanism
    }

    // MARK: - Operations

    private func perform(
        _ request: OperationRequest, _ client: DataClient
    ) throws -> OperationReply.Body {
        if service.login.isRequired { try DataLogin.permits(client.role, request.operation) }
        switch request.operation {
        case .data(let function, let key, let wire, let input, let signature):
            let mechanism = try mechanism(wire, client)
            let output = try data(function, try key.map { try find($0, client) }, mechanism, input, signature)
            guard let output else { return .none }
            guard output.count <= Int(request.outputLimit) else { throw DataRefusal(.bufferTooSmall) }
            return .bytes(output)
        case .randomBytes(let count): return .bytes(try ownSession().session.randomBytes(Int(count)))
        case .wrap(let wrappingKey, let wire, let key):
            let mechanism = try mechanism(wire, client)
            let (wrapping, wrapped) = (try find(wrappingKey, client), try find(key, client))
            return .bytes(
                try ownSession().session.wrapKey(wrapped, under: wrapping, using: mechanism))
        case .getAttributes(let reference, let types):
            return .attributes(try attributes(try find(reference, client, .objectHandle), types))
        case .closeSession:
            client.close(request.session)
            return .none
        case .cancel: return .none
        case .logIn(let user, var password):
            client.logIn(as: try service.login.logIn(user: user, password: &password))
            return .none
        case .logOut:
            client.logOut()
            return .none
        case .derive, .unwrap, .generateKey, .generateKeyPair, .createObject, .copyObject:
            return try make(request, client)
        case .destroyObject(let reference):
            let (handle, owner) = try ownObject(reference, client)
            try Self.run(owner) { try $0.session.destroyObject(handle) }
            client.forget(handle)
            return .none
        case .setAttributes(let reference, let template):
            let (handle, owner) = try ownObject(reference, client)
            let changes = try DataTranslation.template(template)
            try Self.run(owner) { try $0.session.setAttributes(changes, of: handle) }
            return .none
        case .seedRandom, .objectSize, .streamBegin, .streamUpdate, .streamUpdateKey, .streamEnd,
            .streamAbandon:
            throw DataRefusal(.functionNotSupported)
        }
    }

    /// The output; nil for verify.
    private func data(
        _ function: DataFunction, _ key: ObjectHandle?, _ mechanism: Mechanism, _ input: [UInt8],
        _ signature: [UInt8]
    ) throws -> [UInt8]? {
        let own = try ownSession()
        if function == .digest { return try own.session.digest(input, using: mechanism) }
        guard let key else { throw DataRefusal.keyHandle }
        switch function {
        case .sign: return try own.session.sign(input, with: key, using: mechanism)
        case .verify:
            guard try own.session.verify(signature, of: input, with: key, using: mechanism) else {
                throw PKCS11Error(.verify, .signatureInvalid)
            }
            return nil
        case .encrypt: return try own.session.encrypt(input, with: key, using: mechanism)
        case .decrypt: return try own.session.decrypt(input, with: key, using: mechanism)
        case .digest, .signRecover, .verifyRecover: throw DataRefusal(.functionNotSupported)
        }
    }

    private func attributes(
        _ object: ObjectHandle, _ types: [UInt64]
    ) throws -> [OperationReply.AttributeResult] {
        let asked = types.map { AttributeType(rawValue: UInt($0)) }
        let known = try ownSession().session.attributes(of: object, asked)
        return types.map { type in
            let value = known[AttributeKey<[UInt8]>(AttributeType(rawValue: UInt(type)))]
            return OperationReply.AttributeResult(
                type: type, value: value, isSensitive: value == nil && Self.mayBeSensitive(type))
        }
    }

    /// Attributes that tokens hide: CKA_VALUE, and CKA_PRIVATE_EXPONENT to CKA_COEFFICIENT. Of any other that
    /// is not told, the object has none.
    private static func mayBeSensitive(_ type: UInt64) -> Bool {
        type == 0x11 || (0x123...0x128).contains(type)
    }

    private func ownObject(
        _ reference: ObjectReference, _ client: DataClient
    ) throws -> (ObjectHandle, Monitor<DataSession>) {
        // Keys of the cluster are changed and destroyed by the cluster.
        guard case .hostObject = reference else { throw DataRefusal(.actionProhibited) }
        let handle = try find(reference, client)
        guard let session = client.ownerOf(handle.number) else { throw DataRefusal.objectHandle }
        return (handle, try owner(session, client))
    }

    private func owner(_ session: UInt64, _ client: DataClient) throws -> Monitor<DataSession> {
        let token = try service.custodian.dataToken()
        return try client.owner(session) { () throws(PKCS11Error) in
            DataSession(try token.openSession(readWrite: true))
        }
    }

    /// Runs `body` with a session that no other thread uses meanwhile.
    private static func run<Value>(
        _ owner: Monitor<DataSession>, _ body: (DataSession) throws -> Value
    ) throws -> Value {
        try owner.look { session in Result { try body(session) } }.get()
    }

    /// Makes session objects, in a session that belongs to this client alone.
    private func make(_ request: OperationRequest, _ client: DataClient) throws -> OperationReply.Body {
        let maker = try maker(request.operation, client)
        let owner = try owner(request.session, client)
        let made = try Self.run(owner, maker)
        guard client.remember(made, of: request.session) else {
            owner.look { session in for object in made { try? session.session.destroyObject(object) } }
            throw DataRefusal(.deviceMemory)
        }
        return .handles(made.map { UInt64($0.number) }, incarnation: service.incarnation)
    }

    private func maker(
        _ operation: OperationWire.Operation, _ client: DataClient
    ) throws -> (DataSession) throws -> [ObjectHandle] {
        switch operation {
        case .derive(let base, let wire, let wireTemplate):
            let (mechanism, base) = (try mechanism(wire, client), try find(base, client))
            let template = try DataTranslation.sessionObject(wireTemplate)
            return { [try $0.session.deriveKey(from: base, using: mechanism, template: template)] }
        case .unwrap(let unwrappingKey, let wire, let wrapped, let wireTemplate):
            let (mechanism, key) = (try mechanism(wire, client), try find(unwrappingKey, client))
            let template = try DataTranslation.sessionObject(wireTemplate)
            return { [try $0.session.unwrapKey(wrapped, with: key, using: mechanism, template: template)] }
        case .generateKey(let wire, let wireTemplate):
            let mechanism = try mechanism(wire, client)
            let template = try DataTranslation.sessionObject(wireTemplate)
            return { [try $0.session.generateKey(mechanism, template: template)] }
        case .generateKeyPair(let wire, let publicWire, let privateWire):
            let mechanism = try mechanism(wire, client)
            let publicTemplate = try DataTranslation.sessionObject(publicWire)
            let privateTemplate = try DataTranslation.sessionObject(privateWire)
            return { session in
                let pair = try session.session.generateKeyPair(
                    mechanism, publicTemplate: publicTemplate, privateTemplate: privateTemplate)
                return [pair.publicKey, pair.privateKey]
            }
        case .createObject(let wireTemplate):
            let template = try DataTranslation.sessionObject(wireTemplate)
            return { [try $0.session.createObject(template)] }
        case .copyObject(let reference, let wireTemplate):
            let object = try find(reference, client, .objectHandle)
            let template = try DataTranslation.sessionObject(wireTemplate)
            return { [try $0.session.copyObject(object, changing: template)] }
        default: throw DataRefusal(.functionNotSupported)
        }
    }
}
