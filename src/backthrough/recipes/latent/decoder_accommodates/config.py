"""A decoder accommodates the posterior that it is trained with (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass

from backthrough.recipes.latent.gap_setting import Setting, at_full_scale


@dataclass(frozen=True)
class Config(Setting):
    """A decoder trained with either family of posteriors, and the best posteriors of both on it."""


SCALES = {"quick": Config(), "full": at_full_scale(Config())}
DEMO = None
