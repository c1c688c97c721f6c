"""The standard's own examples, stored by update and read back: https://hl7.org/fhir/R4/http.html#update"""
