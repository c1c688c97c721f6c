"""What terminology can't answer."""


class TerminologyError(Exception):
    """A question that can't be answered from the content at hand; the text says why."""


class UnknownContent(TerminologyError):
    """A code system, value set or concept map that is not at hand."""


class TooManyCodes(TerminologyError):
    """An expansion with more codes than are handled at a time."""
