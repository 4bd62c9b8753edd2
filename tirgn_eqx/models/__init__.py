"""Forecasting models as immutable pytrees."""

from tirgn_eqx.models.tirgn import Encoding as Encoding, TiRGN as TiRGN
