"""HL7's FHIRPath suite against an engine that speaks JSON Lines: https://hl7.org/fhirpath/N1/"""
