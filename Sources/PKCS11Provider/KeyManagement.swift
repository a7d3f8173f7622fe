internal import CCryptoki
internal import OperationWire
internal import Synchronization

// Making, wrapping and destroying (PKCS#11 v2.40 §5.7, §5.13, §5.14). Session objects are made on one endpoint at once, so that the
// application hears of its mistakes in this very call. Token objects are the cluster's: they are made through the
// management interface, and a session is told that the token is write-protected.

extension Library {
    /// What all functions that make an object check first.
    private func check(_ template: [WireAttribute], _ session: Session, in view: DirectoryView)
        throws(Refusal)
    {
        if template.bool(CKA_TOKEN) == true {
            throw session.isReadWrite ? .writeProtected : .readOnly
        }
        if template.bool(CKA_PRIVATE) == true, !mayUsePrivate(in: view) { throw .notLoggedIn }
    }

    private func flagged(
        _ handle: CK_OBJECT_HANDLE, _ flag: Directory.Key.Flags, in view: DirectoryView,
        otherwise: Refusal = .keyHandle
    ) throws(Refusal) -> KeySource {
        let source = try source(handle, in: view, otherwise: otherwise)
        if case .token(let number) = source, let key = view.key(number: number), !key.flags.contains(flag) {
            throw Refusal(CKR_KEY_FUNCTION_NOT_PERMITTED)
        }
        return source
    }

    /// Carries out a recipe and remembers it.
    private func make(
        _ recipe: Recipe, known: [WireAttribute], _ session: Session, in view: DirectoryView
    ) throws(Refusal) -> CK_OBJECT_HANDLE {
        let object = try addObject(owner: session.handle, recipe: recipe, known: known)
        do throws(Refusal) {
            let done = try perform(session: session.handle, in: view, sources: recipe.sources) { references in
                recipe.operation(references) ?? .closeSession
            }
            try place([object], done, of: view)
        } catch {
            _ = objects.remove(object.handle)
            throw error
        }
        return CK_OBJECT_HANDLE(object.handle)
    }

    private func place(_ made: [SessionObject], _ done: Performed, of view: DirectoryView) throws(Refusal) {
        guard case .handles(let handles, let incarnation) = done.reply.body, handles.count == made.count
        else {
            throw .device
        }
        for (object, handle) in zip(made, handles) {
            noteTouch(done.endpoint, of: view, by: object.owner)
            object.placements.withLock {
                $0[view.endpoints[done.endpoint].name] = .hostObject(handle: handle, incarnation: incarnation)
            }
        }
    }

    func deriveKey(
        _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?, base: CK_OBJECT_HANDLE,
        _ template: [WireAttribute], into handle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let handle else { throw .arguments }
        handle.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            let source = try self.flagged(base, .derive, in: view)
            try self.check(template, session, in: view)
            // Nothing but a secret key can be derived, and some modules want to be told.
            let complete = template.adding(CKA_TOKEN, boolByte(false))
                .adding(CKA_CLASS, ulongBytes(UInt64(CKO_SECRET_KEY)))
            return try self.make(
                .derive(base: source, flat, template: complete), known: complete, session, in: view)
        }
    }

    func unwrapKey(
        _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?, unwrappingKey: CK_OBJECT_HANDLE,
        _ wrapped: UnsafeBufferPointer<UInt8>, _ template: [WireAttribute],
        into handle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let handle else { throw .arguments }
        guard !wrapped.isEmpty, wrapped.count <= OperationLimits.dataBytes else {
            throw Refusal(CKR_WRAPPED_KEY_LEN_RANGE)
        }
        let bytes = Array(wrapped)
        handle.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            let source = try self.flagged(
                unwrappingKey, .unwrap, in: view, otherwise: Refusal(CKR_UNWRAPPING_KEY_HANDLE_INVALID))
            try self.check(template, session, in: view)
            let complete = template.adding(CKA_TOKEN, boolByte(false))
            return try self.make(
                .unwrap(unwrappingKey: source, flat, wrapped: bytes, template: complete), known: complete,
                session, in: view)
        }
    }

    func createObject(
        _ session: Session, _ template: [WireAttribute],
        into handle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let handle else { throw .arguments }
        guard template.contains(where: { $0.type == UInt64(CKA_CLASS) }) else {
            throw Refusal(CKR_TEMPLATE_INCOMPLETE)
        }
        handle.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            try self.check(template, session, in: view)
            let complete = template.adding(CKA_TOKEN, boolByte(false))
            // Whether a value may be told is for the token to say.
            let known = complete.filter { !SessionObject.material.contains($0.type) }
            return try self.make(.create(template: complete), known: known, session, in: view)
        }
    }

    func copyObject(
        _ session: Session, _ original: CK_OBJECT_HANDLE, _ template: [WireAttribute],
        into handle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let handle else { throw .arguments }
        handle.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let source = try self.source(original, in: view, otherwise: .objectHandle)
            try self.check(template, session, in: view)
            // A copy of a token key would be a token object unless the template says otherwise.
            guard case .session = source else {
                throw template.bool(CKA_TOKEN) == false ? Refusal(CKR_ACTION_PROHIBITED) : .writeProtected
            }
            return try self.make(
                .copy(source, template: template.adding(CKA_TOKEN, boolByte(false))), known: template,
                session, in: view)
        }
    }

    func destroyObject(_ session: Session, _ handle: CK_OBJECT_HANDLE) throws(Refusal) {
        try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            guard case .session(let object) = try self.source(handle, in: view, otherwise: .objectHandle)
            else {
                throw .writeProtected
            }
            guard self.objects.remove(object.handle) != nil else { throw .objectHandle }
            // Objects made from this one may still need its recipe: they hold it. Only its own copies go.
            for (index, endpoint) in view.endpoints.enumerated() {
                guard let reference = object.placements.withLock({ $0[endpoint.name] }) else { continue }
                self.tell(.destroyObject(reference), session: object.owner, to: index, of: view)
            }
            object.placements.withLock { $0 = [:] }
        }
    }

    func generateKey(
        _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?, _ template: [WireAttribute],
        into handle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let handle else { throw .arguments }
        handle.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            try self.check(template, session, in: view)
            let complete = template.adding(CKA_TOKEN, boolByte(false))
            let object = try self.addObject(
                owner: session.handle, recipe: .generated,
                known: complete.adding(CKA_CLASS, ulongBytes(UInt64(CKO_SECRET_KEY))))
            do throws(Refusal) {
                let done = try self.perform(session: session.handle, in: view, sources: flat.sources) {
                    .generateKey(flat.wire($0[...]), template: complete)
                }
                try self.place([object], done, of: view)
            } catch {
                _ = self.objects.remove(object.handle)
                throw error
            }
            return CK_OBJECT_HANDLE(object.handle)
        }
    }

    func generateKeyPair(
        _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?, public publicTemplate: [WireAttribute],
        private privateTemplate: [WireAttribute],
        into publicHandle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?,
        _ privateHandle: UnsafeMutablePointer<CK_OBJECT_HANDLE>?
    ) throws(Refusal) {
        guard let publicHandle, let privateHandle else { throw .arguments }
        let handles = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            try self.check(publicTemplate, session, in: view)
            try self.check(privateTemplate, session, in: view)
            let ofPublic = publicTemplate.adding(CKA_TOKEN, boolByte(false))
            let ofPrivate = privateTemplate.adding(CKA_TOKEN, boolByte(false))
            let first = try self.addObject(
                owner: session.handle, recipe: .generated,
                known: ofPublic.adding(CKA_CLASS, ulongBytes(UInt64(CKO_PUBLIC_KEY))))
            var made = [first]
            do throws(Refusal) {
                made.append(
                    try self.addObject(
                        owner: session.handle, recipe: .generated,
                        known: ofPrivate.adding(CKA_CLASS, ulongBytes(UInt64(CKO_PRIVATE_KEY)))))
                let done = try self.perform(session: session.handle, in: view, sources: flat.sources) {
                    .generateKeyPair(
                        flat.wire($0[...]), publicTemplate: ofPublic, privateTemplate: ofPrivate)
                }
                try self.place(made, done, of: view)
            } catch {
                for object in made { _ = self.objects.remove(object.handle) }
                throw error
            }
            return made.map(\.handle)
        }
        publicHandle.pointee = CK_OBJECT_HANDLE(handles[0])
        privateHandle.pointee = CK_OBJECT_HANDLE(handles[1])
    }

    func wrapKey(
        _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?, wrappingKey: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE, into output: UnsafeMutablePointer<UInt8>?,
        length: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        guard let length else { throw .arguments }
        let wrapped = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            let wrapping = try self.flagged(
                wrappingKey, .wrap, in: view, otherwise: Refusal(CKR_WRAPPING_KEY_HANDLE_INVALID))
            let wanted = try self.source(key, in: view)
            if case .token(let number) = wanted, let key = view.key(number: number),
                !key.flags.contains(.extractable)
            {
                throw Refusal(CKR_KEY_UNEXTRACTABLE)
            }
            let sources = [wrapping, wanted] + flat.sources
            let done = try self.perform(session: session.handle, in: view, sources: sources) {
                .wrap(wrappingKey: $0[0], flat.wire($0.dropFirst(2)), key: $0[1])
            }
            guard case .bytes(let bytes) = done.reply.body else { throw .device }
            return bytes
        }
        try handOut(wrapped, into: output, length: length)
    }

    func generateRandom(_ session: Session, into output: UnsafeMutableBufferPointer<UInt8>) throws(Refusal) {
        try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            var filled = 0
            while filled < output.count {
                let count = min(output.count - filled, OperationLimits.randomBytes)
                let done = try self.perform(session: session.handle, in: view, sources: []) { _ in
                    .randomBytes(count: UInt32(count))
                }
                guard case .bytes(let bytes) = done.reply.body, bytes.count == count else { throw .device }
                for (index, byte) in bytes.enumerated() { output[filled + index] = byte }
                filled += count
            }
        }
    }

    func seedRandom(_ session: Session, _ seed: UnsafeBufferPointer<UInt8>) throws(Refusal) {
        guard seed.count <= OperationLimits.randomBytes else { throw .arguments }
        let bytes = Array(seed)
        try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            _ = try self.perform(session: session.handle, in: view, sources: []) { _ in .seedRandom(bytes) }
        }
    }
}

extension SessionObject {
    /// CKA_VALUE, CKA_PRIVATE_EXPONENT and the primes.
    static let material: Set<UInt64> = [0x011, 0x123, 0x124, 0x125, 0x126, 0x127, 0x128]
}

/// Hands output out by the two-call convention (PKCS#11 v2.40 §5.2): no buffer asks for the length, one that is too small
/// gets the length and CKR_BUFFER_TOO_SMALL.
func handOut(
    _ bytes: [UInt8], into output: UnsafeMutablePointer<UInt8>?, length: UnsafeMutablePointer<CK_ULONG>
) throws(Refusal) {
    let room = length.pointee
    length.pointee = CK_ULONG(bytes.count)
    guard let output else { return }
    guard room >= CK_ULONG(bytes.count) else { throw Refusal(CKR_BUFFER_TOO_SMALL) }
    bytes.withUnsafeBufferPointer { source in
        guard let start = source.baseAddress else { return }
        output.update(from: start, count: source.count)
    }
}
