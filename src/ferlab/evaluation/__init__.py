"""How good, how sure: predictions, metrics, intervals, calibration, comparison and published claims.

`scoring`, `metrics` and `scores` use torch; every other module works from predictions tables alone, without it.
"""
