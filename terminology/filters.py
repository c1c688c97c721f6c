"""The filters of a value set as conditions: https://hl7.org/fhir/R4/valueset-filter-operator.html"""

from terminology import ecl
from terminology.condition import Above, AnyCondition, Below, Codes, Having, Matching, Not
from terminology.errors import TerminologyError

SNOMED_CT = "http://snomed.info/sct"


def of_filter(name: str, op: str, value: str, system: str = "") -> AnyCondition:
    """The condition of one filter; TerminologyError for an operator that is not known."""
    own = name in ("code", "concept")
    if system == SNOMED_CT and own and op == "in":
        # https://hl7.org/fhir/R4/snomedct.html: the members of a reference set.
        return Having(ecl.MEMBER_OF, frozenset({value}))
    if system == SNOMED_CT and op == "=" and name in ("constraint", "expression"):
        return ecl.parse(value)
    if op in ("=", "in", "not-in"):
        values = frozenset({value} if op == "=" else (one.strip() for one in value.split(",")))
        found: AnyCondition = Codes(values) if own else Having(name, values)
        return Not(found) if op == "not-in" else found
    simple: dict[str, AnyCondition] = {
        "is-a": Below(value),
        "descendent-of": Below(value, itself=False),
        "is-not-a": Not(Below(value)),
        "generalizes": Above(value),
        "regex": Matching(name, value),
        "exists": Having(name) if value == "true" else Not(Having(name)),
    }
    if op not in simple:
        raise TerminologyError(f"The filter operator '{op}' is not known.")
    return simple[op]
