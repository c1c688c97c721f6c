"""The FHIR $operations, one file each: https://hl7.org/fhir/R4/operations.html

A file makes an ``Operation`` (its name, canonical, where it may be called, and what it does); the composition root
lists those that are served, and the CapabilityStatement is made from that list.
"""
