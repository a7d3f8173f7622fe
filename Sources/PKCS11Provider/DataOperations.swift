internal import CCryptoki
internal import OperationWire
internal import Synchronization

// Sign, verify, encrypt, decrypt and digest (PKCS#11 v2.40 §5.8 to §5.12). C_…Init costs nothing: it is sent together with the
// data. Pieces of a signature or a digest are kept and sent as one operation, up to `ProviderLimits.keptInputBytes`; beyond
// that, and for encryption in pieces, the operation runs as a stream on one endpoint (Streams.swift).

extension DataFunction {
    /// The flag that a key needs.
    fileprivate var keyFlag: Directory.Key.Flags? {
        switch self {
        case .sign: .sign
        case .verify: .verify
        case .signRecover: .signRecover
        case .verifyRecover: .verifyRecover
        case .encrypt: .encrypt
        case .decrypt: .decrypt
        case .digest: nil
        }
    }

    /// True when pieces give output on the way, so that they cannot be kept back.
    var givesOutputOnTheWay: Bool { self == .encrypt || self == .decrypt }
}

extension Library {
    // MARK: Init

    func begin(
        _ function: DataFunction, _ session: Session, _ mechanism: UnsafePointer<CK_MECHANISM>?,
        key handle: CK_OBJECT_HANDLE?
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard state.operations[function] == nil else { throw .operationActive }
            let view = try self.view(&state)
            let flat = try self.mechanism(mechanism, in: view)
            var operation = ActiveOperation(function: function, key: nil, mechanism: flat)
            if let handle {
                let source = try self.source(handle, in: view)
                if case .token(let number) = source, let key = view.key(number: number),
                    let flag = function.keyFlag, !key.flags.contains(flag)
                {
                    throw Refusal(CKR_KEY_FUNCTION_NOT_PERMITTED)
                }
                operation.key = source
            }
            state.operations[function] = operation
        }
    }

    // MARK: Single part

    /// C_Sign, C_Encrypt, C_Digest and the like: data in, output by the two-call convention.
    func whole(
        _ function: DataFunction, _ session: Session, _ data: UnsafeBufferPointer<UInt8>,
        into output: UnsafeMutablePointer<UInt8>?, length: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[function] else { throw .operationMissing }
            // Wrong use of a multi-part operation does not end it; everything else that fails does.
            guard !operation.isMultipart else { throw .operationActive }
            guard let length else { throw self.end(function, &state, .arguments) }
            if operation.pending?.call != .whole || operation.pending?.input.elementsEqual(data) != true {
                operation.pending = nil
                let result: [UInt8]
                do throws(Refusal) {
                    result = try self.compute(&operation, data, signature: [], &state, session)
                } catch { throw self.end(function, &state, error) }
                operation.pending = PendingOutput(call: .whole, input: Array(data), output: result)
            }
            try self.deliver(&operation, &state, into: output, length: length, ends: true)
        }
    }

    /// C_Verify.
    func verify(
        _ session: Session, _ data: UnsafeBufferPointer<UInt8>, signature: UnsafeBufferPointer<UInt8>
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[.verify] else { throw .operationMissing }
            guard !operation.isMultipart else { throw .operationActive }
            state.operations[.verify] = nil
            guard signature.count <= OperationLimits.attributeBytes else {
                throw Refusal(CKR_SIGNATURE_LEN_RANGE)
            }
            _ = try self.compute(&operation, data, signature: Array(signature), &state, session)
        }
    }

    /// Does the whole operation in one message, or in pieces when it is longer than a message.
    private func compute(
        _ operation: inout ActiveOperation, _ data: UnsafeBufferPointer<UInt8>, signature: [UInt8],
        _ state: inout SessionState, _ session: Session
    ) throws(Refusal) -> [UInt8] {
        let function = operation.function
        guard data.count > OperationLimits.dataBytes else {
            let input = Array(data)
            return try oneMessage(operation, input, signature: signature, &state, session)
        }
        guard function == .sign || function == .verify || function == .digest,
            data.count <= ProviderLimits.callBytes
        else { throw .dataLength }
        var piecewise = operation
        defer { abandon(piecewise, session) }
        var rest = data[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(ProviderLimits.keptInputBytes))
            rest = rest.dropFirst(piece.count)
            try take(&piecewise, piece, &state, session)
        }
        return try finish(&piecewise, signature: signature, &state, session)
    }

    fileprivate func oneMessage(
        _ operation: ActiveOperation, _ input: [UInt8], signature: [UInt8], _ state: inout SessionState,
        _ session: Session
    ) throws(Refusal) -> [UInt8] {
        let view = try view(&state)
        let hasKey = operation.key != nil
        let done = try perform(session: session.handle, in: view, sources: operation.sources) { references in
            .data(
                operation.function, key: hasKey ? references[0] : nil,
                operation.mechanism.wire(references.dropFirst(hasKey ? 1 : 0)), input: input,
                signature: signature)
        }
        switch done.reply.body {
        case .bytes(let bytes): return bytes
        case .none where operation.function == .verify: return []
        default: throw .device
        }
    }

    // MARK: Multi-part

    /// C_SignUpdate, C_VerifyUpdate and C_DigestUpdate: input without output.
    func update(
        _ function: DataFunction, _ session: Session, _ data: UnsafeBufferPointer<UInt8>
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[function] else { throw .operationMissing }
            guard operation.pending == nil else { throw .operationActive }
            operation.isMultipart = true
            do throws(Refusal) {
                guard data.count <= ProviderLimits.callBytes else { throw .dataLength }
                var rest = data[...]
                while !rest.isEmpty {
                    let piece = Array(rest.prefix(ProviderLimits.keptInputBytes))
                    rest = rest.dropFirst(piece.count)
                    try self.take(&operation, piece, &state, session)
                }
                state.operations[function] = operation
            } catch {
                state.operations[function] = operation
                throw self.end(function, &state, error, session)
            }
        }
    }

    /// C_DigestKey. The value stays on the endpoint, so the digest goes on as a stream there.
    func digestKey(_ session: Session, _ handle: CK_OBJECT_HANDLE) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[.digest] else { throw .operationMissing }
            guard operation.pending == nil else { throw .operationActive }
            let view = try self.view(&state)
            let source = try self.source(handle, in: view)
            operation.isMultipart = true
            do throws(Refusal) {
                try self.digest(&operation, key: source, &state, session)
                state.operations[.digest] = operation
            } catch {
                state.operations[.digest] = operation
                throw self.end(.digest, &state, error, session)
            }
        }
    }

    /// Takes a piece of a signature or a digest.
    private func take(
        _ operation: inout ActiveOperation, _ piece: [UInt8], _ state: inout SessionState, _ session: Session
    ) throws(Refusal) {
        if operation.stream == nil, let kept = operation.kept,
            kept.count + piece.count <= ProviderLimits.keptInputBytes
        {
            operation.kept?.append(contentsOf: piece)
            return
        }
        _ = try streamUpdate(&operation, piece, &state, session)
    }

    /// C_SignFinal, C_DigestFinal, C_EncryptFinal and C_DecryptFinal.
    func final(
        _ function: DataFunction, _ session: Session, into output: UnsafeMutablePointer<UInt8>?,
        length: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[function] else { throw .operationMissing }
            if operation.pending?.call == .whole { throw .operationActive }
            guard let length else { throw self.end(function, &state, .arguments, session) }
            operation.isMultipart = true
            if operation.pending?.call != .final {
                guard operation.pending == nil else { throw .operationActive }
                do throws(Refusal) {
                    let result = try self.finish(&operation, signature: [], &state, session)
                    operation.pending = PendingOutput(call: .final, input: [], output: result)
                } catch {
                    state.operations[function] = operation
                    throw self.end(function, &state, error, session)
                }
            }
            try self.deliver(&operation, &state, into: output, length: length, ends: true)
        }
    }

    /// C_VerifyFinal.
    func verifyFinal(_ session: Session, signature: UnsafeBufferPointer<UInt8>) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[.verify] else { throw .operationMissing }
            state.operations[.verify] = nil
            defer { self.abandon(operation, session) }
            guard signature.count <= OperationLimits.attributeBytes else {
                throw Refusal(CKR_SIGNATURE_LEN_RANGE)
            }
            _ = try self.finish(&operation, signature: Array(signature), &state, session)
        }
    }

    private func finish(
        _ operation: inout ActiveOperation, signature: [UInt8], _ state: inout SessionState,
        _ session: Session
    ) throws(Refusal) -> [UInt8] {
        if operation.stream == nil, !operation.function.givesOutputOnTheWay, let kept = operation.kept {
            return try oneMessage(operation, kept, signature: signature, &state, session)
        }
        return try streamEnd(&operation, signature: signature, &state, session)
    }

    /// C_EncryptUpdate and C_DecryptUpdate.
    func transform(
        _ function: DataFunction, _ session: Session, _ data: UnsafeBufferPointer<UInt8>,
        into output: UnsafeMutablePointer<UInt8>?, length: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        try session.with { state throws(Refusal) in
            guard var operation = state.operations[function] else { throw .operationMissing }
            if let pending = operation.pending, pending.call != .update { throw .operationActive }
            guard let length else { throw self.end(function, &state, .arguments, session) }
            guard data.count <= OperationLimits.dataBytes else {
                throw self.end(function, &state, .dataLength, session)
            }
            if operation.pending == nil, output == nil {
                // Only a bound: what the piece gives is known when it has been done, which a query must not do.
                length.pointee = CK_ULONG(data.count + Self.blockBytes)
                return
            }
            operation.isMultipart = true
            if let pending = operation.pending {
                // After CKR_BUFFER_TOO_SMALL only the same piece can come: the endpoint has it already.
                guard pending.input.elementsEqual(data) else {
                    throw self.end(function, &state, Refusal(CKR_FUNCTION_FAILED), session)
                }
            } else {
                let piece = Array(data)
                do throws(Refusal) {
                    let result = try self.streamUpdate(&operation, piece, &state, session)
                    operation.pending = PendingOutput(call: .update, input: piece, output: result)
                } catch {
                    state.operations[function] = operation
                    throw self.end(function, &state, error, session)
                }
            }
            try self.deliver(&operation, &state, into: output, length: length, ends: false)
        }
    }

    /// More than a block of any cipher: what a piece may give beyond its own length.
    private static var blockBytes: Int { 64 }

    // MARK: Ends

    /// Hands the pending output out; afterwards the operation is over, or goes on without it.
    private func deliver(
        _ operation: inout ActiveOperation, _ state: inout SessionState,
        into output: UnsafeMutablePointer<UInt8>?, length: UnsafeMutablePointer<CK_ULONG>, ends: Bool
    ) throws(Refusal) {
        let function = operation.function
        state.operations[function] = operation
        try handOut(operation.pending?.output ?? [], into: output, length: length)
        guard output != nil else { return }
        if operation.function == .decrypt { operation.pending?.output.wipe() }
        operation.pending = nil
        state.operations[function] = ends ? nil : operation
    }

    /// Ends an operation that failed.
    private func end(
        _ function: DataFunction, _ state: inout SessionState, _ refusal: Refusal, _ session: Session? = nil
    ) -> Refusal {
        if let operation = state.operations.removeValue(forKey: function), let session {
            abandon(operation, session)
        }
        return refusal
    }
}
