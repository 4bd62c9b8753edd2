"""What a checkpoint with an event model says of how good its probabilities were on test."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from tirgn_eqx.checkpoint.metadata import CheckpointMetadata, Count, Document, parse_document

# Writers say null or NaN for the mean of nothing.
Number = Annotated[float | None, AfterValidator(lambda value: value if value is None or np.isfinite(value) else None)]
# A mean of float32 probabilities may exceed 1 by its rounding.
Fraction = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]


class TestedBin(Document):
    """Facts with a probability between `low` and `high`: how many, its mean, and the share that occurred with the 95 %
    interval of that share."""

    low: Fraction
    high: Fraction
    facts: Annotated[Count, Field(gt=0)]
    probability: Fraction
    occurred: Fraction
    interval: Annotated[list[Fraction], Field(max_length=2)] = []


class TestedHorizon(Document):
    """How good forecasts of events over `horizon` steps were, at so many `snapshots` of a split: the skill of their
    Brier score against the best simple rule with its 95 % interval, and the expected calibration error."""

    horizon: Annotated[Count, Field(gt=0)]
    snapshots: Count
    best_baseline: str
    skill: Number
    skill_interval: list[Number] | None = None
    ece: Number
    reliability: list[TestedBin] = []

    def bin_of(self, probability: float) -> TestedBin | None:
        """The facts that had about this probability; None where there were none."""
        # The last bin holds what is certain, too.
        return next((one for one in reversed(self.reliability) if one.low <= probability <= one.high), None)


class EventTestSummary(Document):
    """The figures by horizon."""

    horizons: list[TestedHorizon]

    def nearest(self, horizon: int) -> TestedHorizon | None:
        """The figures of the horizon nearest to `horizon`, by their ratio; None where there are none."""
        return min(self.horizons, key=lambda one: abs(np.log(one.horizon / horizon)), default=None)


def read_event_figures(metadata: CheckpointMetadata, checkpoint: str | Path) -> EventTestSummary:
    """The figures that a training put into the metadata of its checkpoint; no horizons where it did not.

    **Raises:** CheckpointError for figures of another form.
    """
    found = (metadata.metrics or {}).get("event_test")
    if found is None:
        return EventTestSummary(horizons=[])
    return parse_document(EventTestSummary, found, Path(checkpoint), "train again, or use another checkpoint")
