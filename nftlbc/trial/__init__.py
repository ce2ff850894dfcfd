"""Trying a farms file: real connections through the compiled script, promise beside observation.

trial = try_farms(farms, Options(down=(("web", "app1"),)))
print(draw(trial, Look(file="farms.lb")), trial.ok)
"""

from __future__ import annotations

from nftlbc.trial.result import Check, Phase, PoolResult, Row, Trial
from nftlbc.trial.run import Options, try_farms

__all__ = ["Check", "Options", "Phase", "PoolResult", "Row", "Trial", "try_farms"]
