"""A ``Progress`` that keeps what it is shown."""


class Seen:
    """Everything that was reported, by stage.

    Attributes:
        counts: lists of (done, total).
        details: lists of details.
    """

    def __init__(self, then=lambda detail: None):
        """``then`` is called with the detail of every report."""
        self.counts, self.details, self._then = {}, {}, then

    def report(self, stage, done, total, unit="bytes", detail=""):
        self.counts.setdefault(stage, []).append((done, total))
        self.details.setdefault(stage, []).append(detail)
        self._then(detail)
