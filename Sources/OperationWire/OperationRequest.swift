// What an application asks of a token host: one whole operation in one message (C_SignInit and C_Sign, say), because
// the way there and back costs as much as many an operation. Only what cannot be held back in the provider goes
// there piece by piece, as a stream. Functions are those of PKCS#11 v2.40 §5.

/// A function that takes a key or a mechanism, and data.
public enum DataFunction: UInt8, Hashable, Sendable, CaseIterable {
    /// C_Sign.
    case sign = 1
    /// C_Verify; the signature is the request's second input.
    case verify
    /// C_SignRecover.
    case signRecover
    /// C_VerifyRecover; the input is the signature.
    case verifyRecover
    /// C_Encrypt.
    case encrypt
    /// C_Decrypt.
    case decrypt
    /// C_Digest; has no key.
    case digest
}

/// A stream's number, chosen by the client, unique among its open streams.
public typealias StreamNumber = UInt64

/// One operation.
public enum Operation: Hashable, Sendable {
    /// A whole single-part operation. Replied to with `.bytes`; verify with `.none`.
    case data(
        DataFunction, key: ObjectReference?, WireMechanism, input: [UInt8], signature: [UInt8])
    /// Begins a multi-part operation.
    case streamBegin(StreamNumber, DataFunction, key: ObjectReference?, WireMechanism)
    /// The next piece. Replied to with `.bytes`, empty where the function gives no output here.
    case streamUpdate(StreamNumber, [UInt8])
    /// The next piece of a digest is this key's value (C_DigestKey).
    case streamUpdateKey(StreamNumber, ObjectReference)
    /// The end; `signature` for verify only. Replied to with `.bytes`. The stream is gone whatever the reply.
    case streamEnd(StreamNumber, signature: [UInt8])
    /// Gives a multi-part operation up.
    case streamAbandon(StreamNumber)

    /// C_DeriveKey into a session object. Replied to with one handle.
    case derive(base: ObjectReference, WireMechanism, template: [WireAttribute])
    /// C_WrapKey. Replied to with `.bytes`.
    case wrap(wrappingKey: ObjectReference, WireMechanism, key: ObjectReference)
    /// C_UnwrapKey into a session object. Replied to with one handle.
    case unwrap(
        unwrappingKey: ObjectReference, WireMechanism, wrapped: [UInt8], template: [WireAttribute])
    /// C_GenerateRandom. Replied to with `.bytes`.
    case randomBytes(count: UInt32)
    /// C_SeedRandom.
    case seedRandom([UInt8])

    /// C_GenerateKey of a session object. Replied to with one handle.
    case generateKey(WireMechanism, template: [WireAttribute])
    /// C_GenerateKeyPair of session objects. Replied to with two handles: public, private.
    case generateKeyPair(
        WireMechanism, publicTemplate: [WireAttribute], privateTemplate: [WireAttribute])
    /// C_CreateObject of a session object. Replied to with one handle.
    case createObject(template: [WireAttribute])
    /// C_CopyObject into a session object. Replied to with one handle.
    case copyObject(ObjectReference, template: [WireAttribute])
    /// C_DestroyObject of a session object.
    case destroyObject(ObjectReference)
    /// C_GetAttributeValue. Replied to with `.attributes`, in the order asked for.
    case getAttributes(ObjectReference, types: [UInt64])
    /// C_SetAttributeValue of a session object.
    case setAttributes(ObjectReference, template: [WireAttribute])
    /// C_GetObjectSize. Replied to with `.number`.
    case objectSize(ObjectReference)

    /// Logs the client in. The password is never passed on to the HSM. Both sides wipe it after use.
    case logIn(user: [UInt8], password: [UInt8])
    /// Logs the client out; its private session objects are destroyed.
    case logOut
    /// Destroys the session objects and streams of the request's session (C_CloseSession).
    case closeSession
    /// The client no longer waits for this request; work not yet begun is dropped.
    case cancel(request: UInt64)
}

/// An operation and who waits for it until when.
public struct OperationRequest: Hashable, Sendable {
    /// Unique among the client's requests to this token host; the reply repeats it.
    public var number: UInt64
    /// The application's session (the provider's handle): owner of session objects and streams.
    public var session: UInt64
    /// How long the caller waits from now, in milliseconds. What has not begun by then is dropped.
    public var deadlineMilliseconds: UInt32
    /// The most bytes of output that the caller takes.
    public var outputLimit: UInt32
    /// What to do.
    public var operation: Operation

    /// Puts a request together.
    public init(
        number: UInt64, session: UInt64, deadlineMilliseconds: UInt32,
        outputLimit: UInt32 = UInt32(OperationLimits.dataBytes), operation: Operation
    ) {
        self.number = number
        self.session = session
        self.deadlineMilliseconds = deadlineMilliseconds
        self.outputLimit = outputLimit
        self.operation = operation
    }

    /// Overwrites the password and whatever else may be secret in it (data, templates) with zeros, as far as
    /// this value is the only holder of those bytes.
    public mutating func wipe() {
        switch operation {
        case .logIn(let user, var password):
            operation = .logIn(user: user, password: [])
            password.wipe()
        case .data(let function, let key, let mechanism, var input, let signature):
            operation = .data(function, key: key, mechanism, input: [], signature: signature)
            input.wipe()
        case .streamUpdate(let stream, var piece):
            operation = .streamUpdate(stream, [])
            piece.wipe()
        case .createObject(var template):
            operation = .createObject(template: [])
            template.wipe()
        case .seedRandom(var seed):
            operation = .seedRandom([])
            seed.wipe()
        default: break
        }
    }
}

extension [WireAttribute] {
    /// Overwrites all values with zeros, as far as this array is their only holder; then it is empty.
    public mutating func wipe() {
        while let attribute = popLast() {
            switch attribute.value {
            case .bytes(var bytes):
                bytes.wipe()
            case .template(var nested): nested.wipe()
            }
        }
    }
}
