"""Random sequences of operations on workitems against a model of a few lines; random nonsense as data sets and keys."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import BadRequest, HutongError
from server.fhir.definitions import load
from server.imaging import workitem_search
from server.imaging.workitem_dataset import checked
from server.imaging.workitem_state import CANCEL, TELL, step
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.imaging.workitems import Workitems
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access
from server.store.database import Database
from server.workflow.workitem_content import Place
from server.workflow.workitem_task import WorkitemTasks
from tests.http.worklist import asked, discontinued, element, new, performed

ACCESS = Access(who="test", scopes=frozenset({"read", "write"}))
LOCKS = ("1.2.3", "1.2.4", "")
#: The update that a final state needs.
NEEDED = {"COMPLETED": "performed", "CANCELED": "discontinued"}
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
_numbers = itertools.count()

operations = st.one_of(
    st.tuples(st.sampled_from(("create", "cancel", "subscribe")), st.just(""), st.just("")),
    st.tuples(st.just("state"), st.sampled_from(STATES), st.sampled_from(LOCKS)),
    st.tuples(st.just("state"), st.sampled_from(STATES[1:]), st.just("1.2.3")),
    st.tuples(st.just("update"), st.sampled_from(("priority", "performed", "discontinued")), st.sampled_from(LOCKS)),
    st.tuples(st.just("update"), st.sampled_from(("performed", "discontinued")), st.just("1.2.3")),
)


class Model:
    """What a workitem is, without its attributes."""

    def __init__(self) -> None:
        self.state, self.lock = "", ""
        self.said: set[str] = set()
        self.subscribed = False
        self.reports = 0

    def allowed(self, operation: str, what: str, lock: str) -> bool:
        """Whether it goes; does it if so."""
        return bool(getattr(self, f"_{operation}")(what, lock))

    def _create(self, _what: str, _lock: str) -> bool:
        if self.state:
            return False
        self.state = "SCHEDULED"
        return True

    def _subscribe(self, _what: str, _lock: str) -> bool:
        if not self.state:
            return False
        self.subscribed = True
        self.reports += 1
        return True

    def _update(self, what: str, lock: str) -> bool:
        if self.state not in STATES[:2] or (lock != self.lock):
            return False
        if what == "discontinued" and what not in self.said:
            self.reports += self.subscribed
        self.said.add(what)
        return True

    def _cancel(self, _what: str, _lock: str) -> bool:
        if self.state == "IN PROGRESS" and self.subscribed:
            self.reports += 1
            return True
        if self.state == "SCHEDULED":
            self.state = "CANCELED"
            self.reports += self.subscribed
            return True
        return self.state == "CANCELED"

    def _state(self, wanted: str, lock: str) -> bool:
        if not lock or not self.state or wanted == "SCHEDULED":
            return False
        if wanted == "IN PROGRESS":
            if self.state != "SCHEDULED":
                return False
            self.lock = lock
        elif lock != self.lock:
            return False
        elif self.state == wanted:
            return True
        elif (
            self.state != "IN PROGRESS"
            or {"COMPLETED": "performed", "CANCELED": "discontinued"}[wanted] not in self.said
        ):
            return False
        self.state = wanted
        self.reports += self.subscribed
        return True


@pytest.fixture
def worklist(database: Database) -> Workitems:
    definitions = load()
    tasks = WorkitemTasks(external=frozenset(), place=Place(url="http://hutong.test/dicomweb", title="HUTONG"))
    repository = Repository(database, definitions, Search(definitions), followers=(tasks.shown,))
    return Workitems(repository=repository, orders=tasks, label="HUTONG")


def act(worklist: Workitems, uid: str, operation: str, what: str, lock: str) -> bool:
    """The operation for real; whether it went."""
    try:
        if operation == "create":
            worklist.create(ACCESS, new(), uid)
        elif operation == "cancel":
            worklist.request_cancel(ACCESS, uid, {})
        elif operation == "subscribe":
            subscriptions = WorkitemSubscriptions(database=worklist.repository.database)
            subscriptions.subscribe(ACCESS, uid, "WATCH", deletion_lock=False)
        elif operation == "state":
            worklist.change_state(ACCESS, uid, asked(what, lock))
        else:
            worklist.update(ACCESS, uid, changes(what), lock)
    except HutongError:
        return False
    return True


def changes(what: str) -> dict[str, Any]:
    if what == "priority":
        return {"00741200": element("CS", "HIGH")}
    return performed("") if what == "performed" else discontinued("")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, max_size=14))
def test_any_sequence_of_operations_does_what_the_model_does(
    worklist: Workitems, steps: list[tuple[str, str, str]]
) -> None:
    uid, model = f"1.2.840.99.{next(_numbers)}", Model()
    with worklist.repository.database.reading() as uow:
        before = uow.driver.execute("select count(*) from workitem_event").fetchone()
    for operation, what, lock in (("create", "", ""), *steps):
        assert act(worklist, uid, operation, what, lock) == model.allowed(operation, what, lock), (
            operation,
            what,
            lock,
        )
        item = worklist.retrieve(ACCESS, uid)
        assert item["00741000"]["Value"] == [model.state] and "00081195" not in item
    with worklist.repository.database.reading() as uow:
        after = uow.driver.execute("select count(*) from workitem_event").fetchone()
    assert before is not None and after is not None
    assert after[0] - before[0] == model.reports


@given(
    st.sampled_from(STATES),
    st.sampled_from((*STATES, CANCEL, "LOST", "")),
    st.sampled_from(LOCKS),
    st.sampled_from(LOCKS),
)
def test_the_table_answers_everything(state: str, event: str, given_uid: str, held: str) -> None:
    try:
        found = step(state, event, given=given_uid, held=held)
    except HutongError as error:
        assert len(error.details) > 30
    else:
        assert found.state in (*STATES[1:], TELL) or found.warning


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("00404018", "00741204", "vr", "Value", "InlineBinary", "x")), inner, max_size=3
        )
    ),
    max_leaves=12,
)
elements = st.fixed_dictionaries(
    {}, optional={"vr": st.sampled_from(("SQ", "LO", "PN", "OB", "XX", 1)), "Value": values}
)


@given(
    st.dictionaries(st.sampled_from(("00404018", "00741204", "00100010", "00091001", "7FE00010")), elements) | values
)
def test_any_json_is_a_data_set_or_refused(document: Any) -> None:
    try:
        found = checked(document)
    except BadRequest as error:
        assert error.details
    else:
        assert checked(found) == found and orjson.dumps(found)


@given(st.lists(st.tuples(
    st.sampled_from(("PatientName", "00404018.00080100", "ScheduledProcedureStepStartDateTime", "limit", "includefield",
                     "ProcedureStepState", "Nonsense", "fuzzymatching", "00404018", "PatientID.CodeValue")),
    st.text(max_size=12),
), max_size=4))  # fmt: skip
def test_any_search_is_read_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        query = workitem_search.parse(parameters)
    except BadRequest as error:
        assert error.issues[0].expression
    else:
        assert isinstance(query.matches(new()), bool)
