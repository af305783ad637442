"""Error, evaluations and time of a solve with its gradient against the tolerance (after Chen et al. 2018)."""
