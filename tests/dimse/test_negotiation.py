"""Negotiation: the outcome for a request is what pynetdicom's own acceptor gives for the same one."""

from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from server.dimse import negotiation, store
from server.dimse.associate import AssociateRequest, Proposed, Role, User
from server.dimse.echo import OFFER
from server.dimse.negotiation import STORAGE_SERVICE, Acceptable, Agreed, Negotiator
from server.dimse.server import table
from server.dimse.service import Offer
from server.settings.peer import SERVICES
from tests.dimse.wire import CT, EXPLICIT, IMPLICIT, VERIFICATION

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
J2K, PRIVATE_SYNTAX, PRIVATE_CLASS = "1.2.840.10008.1.2.4.90", "1.2.3.4.5", "1.2.826.0.1.3680043.9.7.1"
OFFERS = (
    OFFER,
    Offer(
        abstract_syntaxes=(FIND,),
        commands=(0x20,),
        serve=lambda _caller, _request: iter(()),
        transfer_syntaxes=(EXPLICIT, IMPLICIT),
        extended=b"\1\0\1",
        name="find",
    ),
)
EVERYTHING = frozenset(SERVICES)


def negotiator(*, accept_unknown: bool = False) -> Negotiator:
    return Negotiator(table(OFFERS), store.acceptable(), accept_unknown=accept_unknown)


def request(contexts: list[tuple[int, str, list[str]]], user: User | None = None) -> AssociateRequest:
    return AssociateRequest(
        protocol_version=1,
        titles=b"HUTONG".ljust(16) + b"TESTER".ljust(16),
        called="HUTONG",
        calling="TESTER",
        application_context="",
        contexts=tuple(
            Proposed(context_id=number, abstract_syntax=abstract, transfer_syntaxes=tuple(transfer))
            for number, abstract, transfer in contexts
        ),
        user=user or User(),
    )


def sent(agreed: Agreed) -> A_ASSOCIATE_AC:
    pdu = A_ASSOCIATE_AC()
    pdu.decode(agreed.acceptance)
    return pdu


def _acceptor(entries: dict[str, Acceptable]) -> list[PresentationContext]:
    found = []
    for syntax, entry in entries.items():
        context = PresentationContext()
        context.abstract_syntax = syntax
        context.transfer_syntax = list(entry.transfer_syntaxes)
        if entry.roles:
            context.scu_role = context.scp_role = True
        found.append(context)
    return found


ACCEPTOR = _acceptor(table(OFFERS))
SYNTAXES = st.lists(st.sampled_from([EXPLICIT, IMPLICIT, J2K, PRIVATE_SYNTAX]), min_size=1, max_size=4, unique=True)
CLASSES = st.sampled_from([VERIFICATION, CT, FIND, PRIVATE_CLASS, "1.2.840.10008.5.1.4.1.1.4"])
ROLES = st.dictionaries(CLASSES, st.builds(Role, scu=st.booleans(), scp=st.booleans()), max_size=4)


@given(st.lists(st.tuples(CLASSES, SYNTAXES), min_size=1, max_size=8), ROLES)
def test_contexts_and_roles_are_those_of_pynetdicom(
    proposed: list[tuple[str, list[str]]], roles: dict[str, Role]
) -> None:
    contexts = [(2 * index + 1, abstract, transfer) for index, (abstract, transfer) in enumerate(proposed)]
    agreed = negotiator().negotiate(request(contexts, User(roles=roles)), EVERYTHING)
    theirs = []
    for number, abstract, transfer in contexts:
        context = PresentationContext()
        context.context_id, context.abstract_syntax, context.transfer_syntax = number, abstract, transfer
        theirs.append(context)
    expected, replies = negotiate_as_acceptor(theirs, ACCEPTOR, {uid: (one.scu, one.scp) for uid, one in roles.items()})
    answer = sent(agreed)
    assert [(one.context_id, one.result) for one in answer.presentation_context] == [
        (one.context_id, one.result) for one in expected
    ]
    accepted = {one.context_id: one for one in expected if one.result == 0}
    assert {number: one.transfer_syntax for number, one in agreed.contexts.items()} == {
        number: one.transfer_syntax[0] for number, one in accepted.items()
    }
    # pynetdicom names the roles as the acceptor has them: the requestor's SCP is its SCU.
    assert {number: (one.role.scp, one.role.scu) for number, one in agreed.contexts.items()} == {
        number: (bool(one.as_scu), bool(one.as_scp)) for number, one in accepted.items()
    }
    assert {uid: (bool(one.scu), bool(one.scp)) for uid, one in answer.user_information.role_selection.items()} == {
        reply.sop_class_uid: (bool(reply.scu_role), bool(reply.scp_role)) for reply in replies
    }


def test_a_peer_gets_only_what_it_may_use() -> None:
    asked = request([(1, VERIFICATION, [IMPLICIT]), (3, CT, [EXPLICIT]), (5, FIND, [EXPLICIT])])
    agreed = negotiator().negotiate(asked, frozenset({"echo", "find"}))
    assert set(agreed.contexts) == {1, 5}
    assert [one.result for one in sent(agreed).presentation_context] == [0, negotiation.USER_REJECTION, 0]


def test_whoever_may_get_may_receive_what_it_got() -> None:
    asked = request([(1, CT, [EXPLICIT])], User(roles={CT: Role(scu=False, scp=True)}))
    agreed = negotiator().negotiate(asked, frozenset({"get"}))
    assert agreed.contexts[1].role == Role(scu=False, scp=True)
    assert not negotiator().negotiate(asked, frozenset({"find"})).contexts


def test_unknown_storage_is_accepted_by_setting_or_when_the_request_says_what_it_is() -> None:
    asked = [(1, PRIVATE_CLASS, [PRIVATE_SYNTAX, EXPLICIT])]
    assert not negotiator().negotiate(request(asked), EVERYTHING).contexts
    by_setting = negotiator(accept_unknown=True).negotiate(request(asked), EVERYTHING)
    named = request(asked, User(service_classes={PRIVATE_CLASS: STORAGE_SERVICE}))
    by_name = negotiator().negotiate(named, EVERYTHING)
    assert by_setting.contexts[1].transfer_syntax == by_name.contexts[1].transfer_syntax == EXPLICIT
    bad = request([(1, "no uid", [EXPLICIT])])
    assert not negotiator(accept_unknown=True).negotiate(bad, EVERYTHING).contexts


def test_extended_negotiation_answers_what_both_can_and_the_window_is_one() -> None:
    user = User(extended={FIND: b"\1\1\0\1", CT: b"\2\0"}, window=(0, 8))
    agreed = negotiator().negotiate(request([(1, FIND, [EXPLICIT]), (3, CT, [EXPLICIT])], user), EVERYTHING)
    assert agreed.extended == {FIND: b"\1\0\0"}
    answer = sent(agreed).user_information
    assert answer.ext_neg[0].app_info == b"\1\0\0" and len(answer.ext_neg) == 1
    assert (answer.async_ops_window.maximum_number_operations_invoked) == 1
    plain = sent(negotiator().negotiate(request([(1, FIND, [EXPLICIT])]), EVERYTHING)).user_information
    assert plain.async_ops_window is None and not plain.ext_neg


def test_every_storage_class_and_transfer_syntax_is_accepted() -> None:
    for syntax in store.STORAGE_CLASSES[:120]:
        assert negotiator().negotiate(request([(1, syntax, [EXPLICIT])]), EVERYTHING).contexts
    for transfer in store.TRANSFER_SYNTAXES:
        agreed = negotiator().negotiate(request([(1, CT, [transfer])]), EVERYTHING)
        assert agreed.contexts[1].transfer_syntax == transfer
