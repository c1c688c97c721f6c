"""The Worklist Service's parts."""

from server.app.parts import Parts, workitem_tasks
from server.http.access import AccessOfRequest
from server.http.workitems import WorkitemServices
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.imaging.workitems import Workitems


def workitems(parts: Parts) -> Workitems:
    """The worklist."""
    return Workitems(
        repository=parts.repository,
        orders=workitem_tasks(parts.settings),
        label=parts.settings.ae_title,
    )


def workitem_services(parts: Parts, access: AccessOfRequest) -> WorkitemServices:
    """What the routes of the Worklist Service work with."""
    return WorkitemServices(
        settings=parts.settings,
        workitems=workitems(parts),
        subscriptions=WorkitemSubscriptions(database=parts.database),
        access=access,
    )
