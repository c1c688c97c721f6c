"""``hutong demo``: the main job, started by one command and checked as an outside client would."""

from server.cli.demo.command import demo

__all__ = ["demo"]
