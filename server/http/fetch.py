"""``/fetch``: studies brought here from a peer; docs/api/forwarding.md."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from server.http.access import AccessOfRequest
from server.http.queue import own_page
from server.security.access import Access
from server.workflow.fetch import Asked, Fetcher
from server.workflow.priors import Wish


class FetchRequest(BaseModel):
    """What is to be fetched: one study, or a patient's."""

    model_config = ConfigDict(extra="forbid")

    peer: str = Field(description="Name of a peer of the settings.")
    study: str = Field(default="", description="Study Instance UID.")
    patient: str = Field(default="", description="Patient ID.")
    issuer: str = Field(default="", description="Issuer of Patient ID.")
    number: int = Field(default=1, ge=1, le=1000, description="Studies of the patient at most, the newest first.")
    modalities: list[str] = Field(default=[], description="Modalities of which a study has one at least.")
    body_parts: list[str] = Field(default=[], description="Body Part Examined of one of a study's series.")
    description: str = Field(default="", description="Study Description, with wildcards.")
    analyse: bool = Field(default=False, description="Whether adapters see it as any new study.")
    only_look: bool = Field(default=False, description="Whether the candidates are only shown.")


def router(fetcher: Fetcher, access: AccessOfRequest) -> APIRouter:
    """A request to fetch, and the list of what was asked for."""
    routes = APIRouter(tags=["DICOM peers"], dependencies=[Depends(own_page)])

    @routes.post("/fetch", status_code=202, summary="Asks a peer for studies and queues those that were chosen.")
    def fetch(caller: Annotated[Access, Depends(access)], asked: FetchRequest) -> dict[str, Any]:
        wish = Wish(
            number=asked.number, modalities=tuple(asked.modalities), description=asked.description,
            body_parts=tuple(asked.body_parts),
        )  # fmt: skip
        found = fetcher.request(
            caller,
            asked.peer,
            Asked(
                study=asked.study, patient_id=asked.patient, issuer=asked.issuer, wish=wish, analyse=asked.analyse,
                only_look=asked.only_look,
            ),
        )  # fmt: skip
        return {"candidates": [asdict(candidate) for candidate in found]}

    @routes.get("/fetch", summary="What was asked for, the newest first.")
    def listed(caller: Annotated[Access, Depends(access)]) -> dict[str, Any]:
        return {"fetches": [asdict(line) for line in fetcher.lines(caller)]}

    return routes
