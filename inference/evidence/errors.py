"""What is said when an evidence cannot be trusted, or two of them cannot be compared."""


class EvidenceError(ValueError):
    """An evidence is not known well enough, or not of the same data as another; the message says
    what was found, what was expected and what to do."""
