"""The parameters of the recurrency baseline, and its two parts."""

import numpy as np
import pytest

from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.models.recurrency import Recurrency, RelaxedPart


def test_parts():
    model = Recurrency(np.array([0.1, 0.2]), np.array([0.5, 0.9]))
    assert model.variant("strict").share.tolist() == [1, 1]
    assert model.variant("relaxed").share.tolist() == [0, 0]
    assert model.variant("combined").to_dict() == {"decay": [0.1, 0.2], "share": [0.5, 0.9]}
    assert Recurrency.constant(3, 0.1, 0.5).to_dict() == {"decay": 0.1, "share": 0.5}


@pytest.mark.parametrize(
    "decay,share,message",
    [
        (-1.0, 0.5, "decay = -1.0"),
        (np.nan, 0.5, "decay = nan"),
        (0.1, 1.5, "share = 1.5"),
        (0.1, np.nan, "share = nan"),
    ],
)
def test_bad_parameters(decay, share, message):
    with pytest.raises(ConfigError, match=message):
        Recurrency.constant(1, decay, share)


def test_more_counts_than_fit():
    with pytest.raises(DataError, match="1,226,440 entities and 596 relations: too many"):
        RelaxedPart(2 * 596, 1_226_440)
    with pytest.raises(ConfigError, match="variant 'loose'"):
        Recurrency.constant(1, 0.1, 0.5).variant("loose")
