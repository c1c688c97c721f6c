"""The generated tables, and what is derived from them."""

from server.fhir.definitions import load
from server.fhir.fhirpath import compile_expression

R4 = load()


def test_the_edition_is_whole() -> None:
    # https://hl7.org/fhir/R4/resourcelist.html: 146 types that there can be instances of (Parameters among them).
    assert len(R4.resource_types) == 146
    assert R4.version == "4.0.1"
    assert R4.is_resource("Patient") and not R4.is_resource("DomainResource") and not R4.is_resource("HumanName")


def test_inherited_elements_come_first() -> None:
    names = [element.name for element in R4.children("Patient")]
    assert names[:5] == ["id", "meta", "implicitRules", "language", "text"]
    assert names.index("contained") < names.index("identifier") < names.index("birthDate")


def test_choices_are_spelled_with_their_type() -> None:
    found = R4.properties("Observation")
    assert found["valueQuantity"].type == "Quantity" and found["valueQuantity"].element.path == "Observation.value[x]"
    assert "value" not in found


def test_content_references_lead_to_their_target() -> None:
    nested = R4.properties("Questionnaire.item")["item"]
    assert nested.children == "Questionnaire.item"
    assert "linkId" in R4.properties(nested.children)


def test_every_type_named_by_an_element_is_defined() -> None:
    # System types of FHIRPath stand for themselves.
    used = {kind for path in R4.tables["element"] for kind in (R4.element(path) or R4.children(path)[0]).types}
    assert {kind for kind in used if kind not in R4.types} == set()


def test_every_search_expression_compiles_and_every_component_is_known() -> None:
    for name in R4.resource_types:
        for parameter in R4.search_parameters(name).values():
            if parameter.expression:
                compile_expression(parameter.expression)
            for url, expression in parameter.components:
                compile_expression(expression)
                assert url in R4.search_parameter_types


def test_every_constraint_compiles() -> None:
    for constraints in R4.constraints.values():
        for constraint in constraints:
            compile_expression(constraint.expression)


def test_expressions_are_narrowed_to_their_type() -> None:
    assert R4.search_parameters("Patient")["email"].expression == "Patient.telecom.where(system='email')"
    assert (
        R4.search_parameters("Observation")["patient"].expression == "Observation.subject.where(resolve() is Patient)"
    )
    assert R4.search_parameters("Observation")["_tag"].expression == "Resource.meta.tag"


def test_compartments_and_codes() -> None:
    assert R4.compartment("Patient")["Observation"] == ("subject", "performer")
    genders = R4.codes("http://hl7.org/fhir/ValueSet/administrative-gender")
    assert genders == {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}}
    assert R4.codes("http://example.org/none") is None


def test_supertypes() -> None:
    assert R4.supertype("Patient") == "DomainResource"
    assert list(R4.ancestry("Age")) == ["Age", "Quantity", "Element"]
    assert R4.supertype("Element") is None and R4.supertype("nothing") is None
