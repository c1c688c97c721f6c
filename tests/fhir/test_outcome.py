"""Every error has a status, and an OperationOutcome that is valid."""

import pytest

from server import errors
from server.errors import HutongError, Issue
from server.fhir.definitions import load
from server.fhir.outcome import information, outcome, status
from server.fhir.validate import validate


def every(kind: type[HutongError]) -> list[type[HutongError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in every(child))]


@pytest.mark.parametrize("kind", every(HutongError), ids=lambda kind: kind.__name__)
def test_every_error_becomes_a_valid_outcome(kind: type[HutongError]) -> None:
    # Some kinds are made from facts of their own; what an outcome needs is what all of them have.
    error = kind.__new__(kind)
    HutongError.__init__(error, "This is wrong; do that.", expression="Patient.name")
    assert validate(load(), outcome(error.issues)) == ()
    assert status(error) == 500 if kind is HutongError else 400 <= status(error) < 504


def test_subclasses_have_the_status_of_their_branch() -> None:
    assert status(errors.UnknownParameter("x")) == 400
    assert status(errors.DuplicateInstance("x")) == 409


def test_information() -> None:
    assert validate(load(), information("Stored.")) == ()
    assert outcome([Issue(code="invalid", details="x")])["issue"][0]["severity"] == "error"
