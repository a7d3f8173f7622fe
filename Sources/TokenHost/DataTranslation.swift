import OperationWire
import PKCS11

// From the wire's values to the wrapper's. Structures are built in the order of fields that Cryptoki gives
// them (v2.40, mechanism chapters).

enum DataTranslation {
    private static let dataSpecified: UInt = 1
    private static let token = AttributeKey<Bool>(AttributeType(rawValue: 0x01))

    /// The mechanism; `find` names the object of a parameter that holds one.
    static func mechanism(
        _ wire: WireMechanism, find: (ObjectReference) throws(DataRefusal) -> ObjectHandle
    ) throws(DataRefusal) -> Mechanism {
        let type = MechanismType(rawValue: UInt(wire.type))
        func structure(_ fields: [ParameterField]) -> Mechanism { Mechanism(type, structure: fields) }
        func bytes(_ bytes: [UInt8]) -> [ParameterField] { [.pointer(bytes), .number(UInt(bytes.count))] }
        func oaep(_ oaep: WireMechanism.OAEP) -> [ParameterField] {
            [.number(UInt(oaep.hash)), .number(UInt(oaep.maskGeneration)), .number(dataSpecified)]
                + bytes(oaep.source)
        }
        switch wire.parameter {
        case .none: return Mechanism(type)
        case .bytes(let parameter): return Mechanism(type, parameter: parameter)
        case .oaep(let parameter): return structure(oaep(parameter))
        case .gcm(let iv, let ivBits, let additionalData, let tagBits):
            return structure(
                bytes(iv) + [.number(UInt(ivBits))] + bytes(additionalData) + [.number(UInt(tagBits))])
        case .ccm(let dataBytes, let nonce, let additionalData, let macBytes):
            return structure(
                [.number(UInt(dataBytes))] + bytes(nonce) + bytes(additionalData) + [.number(UInt(macBytes))])
        case .stringData(let data): return structure(bytes(data))
        case .cbcEncryptData(let iv, let data):
            guard iv.count == 8 || iv.count == 16 else { throw .parameter }
            return structure([.inline(iv)] + bytes(data))
        case .ecdh1(let derivation, let sharedData, let publicData):
            return structure([
                .number(UInt(derivation)), .number(UInt(sharedData.count)), .pointer(sharedData),
                .number(UInt(publicData.count)), .pointer(publicData),
            ])
        case .object(let reference): return structure([.object(try find(reference))])
        case .rsaAESKeyWrap(let bits, let parameter):
            return structure([.number(UInt(bits)), .structure(oaep(parameter))])
        case .counterKDF(let prf, let parts):
            let list = parts.flatMap { [ParameterField.number(UInt($0.type))] + bytes($0.value) }
            return structure([
                .number(UInt(prf)), .number(UInt(parts.count)), .structure(list), .number(0), .structure([]),
            ])
        }
    }

    /// A template of a session object, whatever it says: token objects are the cluster's to make.
    static func sessionObject(_ wire: [WireAttribute]) throws(DataRefusal) -> Template {
        var template = try self.template(wire)
        if template[token] == true { throw .attribute }
        template[token] = false
        return template
    }

    static func template(_ wire: [WireAttribute]) throws(DataRefusal) -> Template {
        var template = Template()
        for attribute in wire {
            guard case .bytes(let bytes) = attribute.value else { throw .attribute }
            template[AttributeKey<[UInt8]>(AttributeType(rawValue: UInt(attribute.type)))] = bytes
        }
        return template
    }
}

/// The token host's own "no": the request does not reach the module.
struct DataRefusal: Error, Hashable {
    var returnValue: ReturnValue
    init(_ returnValue: ReturnValue) { self.returnValue = returnValue }
    static let parameter = DataRefusal(.mechanismParameterInvalid)
    static let attribute = DataRefusal(.attributeValueInvalid)
    static let keyHandle = DataRefusal(.keyHandleInvalid)
    static let objectHandle = DataRefusal(.objectHandleInvalid)
}
