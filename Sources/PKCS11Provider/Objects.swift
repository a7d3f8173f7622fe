internal import CCryptoki
internal import OperationWire
internal import Synchronization

// Search and attributes (PKCS#11 v2.40 §5.7). Keys of the cluster come from the directory; of session objects the endpoint
// is asked where what the application gave does not answer the question.

extension Library {
    // MARK: Search

    func findObjectsInit(_ session: Session, template: [WireAttribute]) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard state.search == nil else { throw .operationActive }
            let view = try self.view(&state)
            var handles = self.tokenObjects(matching: template, in: view)
            for (handle, object) in self.objects.all() where !object.isPrivate || self.mayUsePrivate(in: view)
            {
                if self.matches(object, template, session: session.handle, in: view) {
                    handles.append(handle)
                }
            }
            state.search = Search(handles: handles)
        }
    }

    private func tokenObjects(matching template: [WireAttribute], in view: DirectoryView) -> [UInt64] {
        let mayUsePrivate = mayUsePrivate(in: view)
        func admits(_ key: Directory.Key) -> Bool {
            !key.replicas.isEmpty && (mayUsePrivate || !key.flags.contains(.isPrivate))
                && key.matches(template)
        }
        let keys = view.directory.keys
        if let label = template.bytes(CKA_LABEL) {
            return view.positions(label: label).lazy.map { keys[$0] }.filter(admits).map(\.number)
        }
        if let identifier = template.bytes(CKA_ID) {
            return view.positions(identifier: identifier).lazy.map { keys[$0] }.filter(admits).map(\.number)
        }
        return keys.lazy.filter(admits).map(\.number)
    }

    private func matches(
        _ object: SessionObject, _ template: [WireAttribute], session: UInt64, in view: DirectoryView
    ) -> Bool {
        for attribute in template {
            guard case .bytes(let wanted) = attribute.value else { return false }
            var answer = object.knownAnswer(attribute.type)
            if answer == nil {
                answer = try? attributes(of: object, [attribute.type], session: session, in: view).first
            }
            guard case .value(let value) = answer, value == wanted else { return false }
        }
        return true
    }

    func findObjects(
        _ session: Session, into handles: UnsafeMutablePointer<CK_OBJECT_HANDLE>?, limit: CK_ULONG,
        count: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        guard let count else { throw .arguments }
        try session.with { state throws(Refusal) in
            guard var search = state.search else { throw .operationMissing }
            guard let handles else { throw .arguments }
            let taken = min(Int(clamping: limit), search.handles.count - search.next)
            for index in 0..<taken { handles[index] = CK_OBJECT_HANDLE(search.handles[search.next + index]) }
            search.next += taken
            state.search = search
            count.pointee = CK_ULONG(taken)
        }
    }

    func findObjectsFinal(_ session: Session) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard state.search != nil else { throw .operationMissing }
            state.search = nil
        }
    }

    // MARK: Attributes

    func getAttributes(
        _ session: Session, _ handle: CK_OBJECT_HANDLE, _ template: UnsafeMutablePointer<CK_ATTRIBUTE>?,
        count: CK_ULONG
    ) throws(Refusal) {
        guard let template, count > 0, count <= CK_ULONG(ProviderLimits.templateAttributes) else {
            throw .arguments
        }
        let types = (0..<Int(count)).map { UInt64(template[$0].type) }
        let answers = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            switch try self.source(handle, in: view, otherwise: .objectHandle) {
            case .token(let number): return types.map { view.key(number: number)?.answer($0) ?? .missing }
            case .session(let object):
                let known = types.map { object.knownAnswer($0) }
                let asked = zip(types, known).filter { $0.1 == nil }.map(\.0)
                guard !asked.isEmpty else { return known.map { $0 ?? .missing } }
                var fetched = try self.attributes(
                    of: object, asked, session: session.handle, in: view
                ).makeIterator()
                return known.map { $0 ?? fetched.next() ?? .missing }
            }
        }
        var outcome = CKR_OK
        for (index, answer) in answers.enumerated() {
            switch answer {
            case .sensitive:
                template[index].ulValueLen = CK_ULONG.max
                outcome = CKR_ATTRIBUTE_SENSITIVE
            case .missing:
                template[index].ulValueLen = CK_ULONG.max
                if outcome != CKR_ATTRIBUTE_SENSITIVE { outcome = CKR_ATTRIBUTE_TYPE_INVALID }
            case .value(let bytes):
                if let target = template[index].pValue {
                    guard template[index].ulValueLen >= CK_ULONG(bytes.count) else {
                        template[index].ulValueLen = CK_ULONG.max
                        if outcome == CKR_OK { outcome = CKR_BUFFER_TOO_SMALL }
                        continue
                    }
                    bytes.withUnsafeBytes { source in
                        guard let start = source.baseAddress else { return }
                        target.copyMemory(from: start, byteCount: source.count)
                    }
                }
                template[index].ulValueLen = CK_ULONG(bytes.count)
            }
        }
        guard outcome == CKR_OK else { throw Refusal(outcome) }
    }

    private func attributes(
        of object: SessionObject, _ types: [UInt64], session: UInt64, in view: DirectoryView
    ) throws(Refusal) -> [AttributeAnswer] {
        let done = try perform(session: session, in: view, sources: [.session(object)]) { references in
            .getAttributes(references[0], types: types)
        }
        guard case .attributes(let results) = done.reply.body, results.count == types.count else {
            throw .device
        }
        return results.map { result in
            if let value = result.value { return .value(value) }
            return result.isSensitive ? .sensitive : .missing
        }
    }

    func setAttributes(
        _ session: Session, _ handle: CK_OBJECT_HANDLE, _ template: [WireAttribute]
    ) throws(Refusal) {
        guard !template.isEmpty else { throw .arguments }
        try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            guard case .session(let object) = try self.source(handle, in: view, otherwise: .objectHandle)
            else {
                throw .writeProtected
            }
            // A new copy with these attributes takes the place of the old one, so that they survive a failover.
            let original = object.recipe.withLock { $0 }
            let adjusted = try original.changing(template)
            let recorded = object.placements.withLock { $0 }
            _ = try self.perform(session: object.owner, in: view, sources: [.session(object)]) { references in
                .setAttributes(references[0], template: template)
            }
            object.recipe.withLock { $0 = adjusted }
            object.placements.withLock { placements in
                // Copies elsewhere lack the change: they are made anew when they are needed.
                if recorded.count > 1, object.canBeRemadeUnlocked(adjusted) { placements = [:] }
            }
        }
    }

    func objectSize(
        _ session: Session, _ handle: CK_OBJECT_HANDLE, into size: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        guard let size else { throw .arguments }
        size.pointee = try session.with { state throws(Refusal) in
            let view = try self.view(&state)
            switch try self.source(handle, in: view, otherwise: .objectHandle) {
            case .token: throw Refusal(CKR_INFORMATION_SENSITIVE)
            case .session(let object):
                let done = try self.perform(
                    session: session.handle, in: view, sources: [.session(object)]
                ) { .objectSize($0[0]) }
                guard case .number(let number) = done.reply.body else { throw .device }
                return CK_ULONG(number)
            }
        }
    }
}

extension SessionObject {
    /// Whether it could be made anew by a recipe that is about to become its own.
    func canBeRemadeUnlocked(_ recipe: Recipe) -> Bool {
        if case .generated = recipe { return false }
        return true
    }
}

extension Recipe {
    /// The recipe that makes the object with attributes changed.
    func changing(_ changes: [WireAttribute]) throws(Refusal) -> Recipe {
        func merged(_ template: [WireAttribute]) -> [WireAttribute] {
            template.filter { one in !changes.contains { $0.type == one.type } } + changes
        }
        switch self {
        case .derive(let base, let mechanism, let template):
            return .derive(base: base, mechanism, template: merged(template))
        case .unwrap(let key, let mechanism, let wrapped, let template):
            return .unwrap(unwrappingKey: key, mechanism, wrapped: wrapped, template: merged(template))
        case .create(let template): return .create(template: merged(template))
        case .copy(let source, let template): return .copy(source, template: merged(template))
        case .generated: return .generated
        }
    }
}

extension Session {
    /// Works on the session's state under its lock.
    func with<Result>(
        _ body: (inout SessionState) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        let outcome: Swift.Result<Result, Refusal> = state.withLock { state in
            do throws(Refusal) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
