"""All settings, read once."""

from server.settings.fields import Settings
from server.settings.forward import RESULTS, Forward
from server.settings.load import load, load_with_sources
from server.settings.peer import Peer

__all__ = ["RESULTS", "Forward", "Peer", "Settings", "load", "load_with_sources"]
