"""The RESTful interactions of FHIR, one file each: https://hl7.org/fhir/R4/http.html

An interaction knows no HTTP beyond the words that FHIR itself uses (method, status, ETag's version): it takes a
``Request`` and the repository's ``Transaction`` and gives an ``Answer``; ``route`` chooses it. Bundles of type batch
and transaction go through the same functions.
"""
