"""Forecasting models as immutable pytrees."""

from tirgn_eqx.models.tirgn import Encoding as Encoding
from tirgn_eqx.models.tirgn import TiRGN as TiRGN
