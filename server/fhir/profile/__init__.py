"""Profiles: StructureDefinitions that narrow a type of the standard, and resources held against them.

https://hl7.org/fhir/R4/profiling.html. ``rule`` is one element of a profile, ``tree`` makes them from a snapshot or a
differential, ``compiled`` turns them into closures that check only what the base standard does not say already.
``known`` finds definitions by canonical and keeps what was compiled; ``conformance`` checks a whole resource.
"""

from server.fhir.profile.conformance import Asked, conformance, declares
from server.fhir.profile.known import DEFINING, Fetch, KnownProfiles, ProfileCache

__all__ = ["DEFINING", "Asked", "Fetch", "KnownProfiles", "ProfileCache", "conformance", "declares"]
