"""The Store Instances Response (PS3.18 10.5.3): what became of each instance, and where it is now."""

from functools import lru_cache
from typing import Any

import orjson
from fastapi import Response

from server.errors import BadRequest, NotAcceptable
from server.http.media_type import accepted
from server.imaging.ingest import Accepted, Outcome, Refused
from server.imaging.native_xml import to_xml

_JSON, _XML = "application/dicom+json", "application/dicom+xml"


@lru_cache(maxsize=64)
def is_xml(accept: str) -> bool:
    """Whether the response is wanted in XML; raises NotAcceptable, before anything is stored."""
    for media in accepted(accept):
        if media.type in (_JSON, "application/json", "application/*", "*/*"):
            return False
        if media.type == _XML or (media.type == "multipart/related" and media.related == _XML):
            return True
    raise NotAcceptable(f"The response is given as {_JSON} or {_XML}.", expression="Accept")


def of(outcome: Outcome, url: str, *, xml: bool = False) -> Response:
    """The response, with the status that PS3.18 table 10.5.3-1 has for it."""
    accepted = outcome.stored + outcome.already
    body: dict[str, Any] = {}
    studies = {instance.study for instance in accepted}
    if len(studies) == 1:
        body["00081190"] = {"vr": "UR", "Value": [f"{url}/studies/{studies.pop()}"]}
    named = [refused for refused in outcome.refused if refused.sop_instance]
    nameless = [refused for refused in outcome.refused if not refused.sop_instance]
    if named:
        body["00081198"] = {"vr": "SQ", "Value": [_failed(refused) for refused in named]}
    if accepted:
        body["00081199"] = {"vr": "SQ", "Value": [_referenced(instance, url) for instance in accepted]}
    if nameless:
        body["0008119A"] = {"vr": "SQ", "Value": [_reason(refused) for refused in nameless]}
    if not accepted and not outcome.refused:
        raise BadRequest("The request holds no instance.")
    status = 200 if not outcome.refused else 202 if accepted else 409
    headers = {"Warning": f'299 hutong "{_ascii(outcome.refused[0])}"'} if outcome.refused else {}
    if xml:
        return Response(to_xml(body), status, headers, _XML)
    return Response(orjson.dumps(body), status, headers, _JSON)


def _referenced(instance: Accepted, url: str) -> dict[str, Any]:
    place = f"{url}/studies/{instance.study}/series/{instance.series}/instances/{instance.sop_instance}"
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class]},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance]},
        "00081190": {"vr": "UR", "Value": [place]},
    }


def _failed(refused: Refused) -> dict[str, Any]:
    named = {"00081155": {"vr": "UI", "Value": [refused.sop_instance]}}
    if refused.sop_class:
        named["00081150"] = {"vr": "UI", "Value": [refused.sop_class]}
    return named | _reason(refused)


def _reason(refused: Refused) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [refused.reason]}}


def _ascii(refused: Refused) -> str:
    text = f"{refused.expression}: {refused.details}" if refused.expression else refused.details
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'")
