"""Forecasts by name, from a trained model and all that is known before the time of the forecast."""

from tirgn_eqx.forecast.forecaster import Candidate as Candidate
from tirgn_eqx.forecast.forecaster import Forecast as Forecast
from tirgn_eqx.forecast.forecaster import Forecaster as Forecaster
