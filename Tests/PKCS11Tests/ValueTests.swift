// Numbers, names and templates: pure values, no token needed.

import PKCS11
import Testing

@Suite struct ValueTests {
    @Test func unknownReturnValuesSurvive() {
        #expect(ReturnValue(0xA0).description == "CKR_PIN_INCORRECT (0xA0)")
        #expect(ReturnValue(0x8000_003B).description == "CKR_VENDOR_DEFINED|0x3B")
        #expect(ReturnValue(0x8000_003B).isVendorDefined)
        #expect(ReturnValue(0x7777).description == "0x7777")
        #expect(ReturnValue(0x7777).rawValue == 0x7777)
        #expect(ReturnValue.answerOutOfBounds.description.hasPrefix("ANSWER_OUT_OF_BOUNDS"))
        #expect(!ReturnValue.answerOutOfBounds.isVendorDefined)
    }

    @Test func mechanismsAttributesAndTypesHaveNames() {
        #expect(MechanismType.aesKeyWrap.name == "CKM_AES_KEY_WRAP")
        #expect(MechanismType(0x1040).name == "CKM_EC_KEY_PAIR_GEN")
        #expect(AttributeType(0x4000_0211).description == "CKA_WRAP_TEMPLATE (0x40000211)")
        #expect(ObjectClass.secretKey.description == "CKO_SECRET_KEY (0x4)")
        #expect(KeyType.des3.description == "CKK_DES3 (0x15)")
        #expect(KeyType(rawValue: 0x8000_0001).description == "CKK_VENDOR_DEFINED|0x1")
    }

    @Test func templateHoldsEachAttributeOnce() {
        var template = Template()
        template[.label] = "a"
        template[.token] = true
        template[.label] = "b"
        #expect(template[.label] == "b")
        #expect(template.types.count == 2)
        template[.label] = nil
        #expect(template[.label] == nil)
        #expect(template.types.count == 1)
    }

    @Test func malformedValuesReadAsNil() {
        #expect(Bool(attributeBytes: []) == nil)
        #expect(Bool(attributeBytes: [0, 0]) == nil)
        #expect(UInt(attributeBytes: [1, 2, 3]) == nil)
        #expect(KeyType(attributeBytes: []) == nil)
        #expect(UInt(attributeBytes: UInt(4_711).attributeBytes) == 4_711)
    }
}
