"""All settings, read once."""

from server.settings.archive import Quota, Retention
from server.settings.fields import Settings
from server.settings.forward import RESULTS, Forward
from server.settings.load import load, load_with_sources
from server.settings.peer import Peer
from server.settings.priors import Priors

__all__ = ["RESULTS", "Forward", "Peer", "Priors", "Quota", "Retention", "Settings", "load", "load_with_sources"]
