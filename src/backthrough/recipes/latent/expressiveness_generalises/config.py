"""What a flow does for the amortization gap at no more parameters (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass

from backthrough.recipes.latent.gap_setting import Setting, at_full_scale


@dataclass(frozen=True)
class Config(Setting):
    """One decoder; a factorised encoder and a flow encoder of no more parameters, trained anew for it."""


SCALES = {"quick": Config(), "full": at_full_scale(Config())}
DEMO = None
