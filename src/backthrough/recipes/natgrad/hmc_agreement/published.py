"""Published correlations with HMC: Zhang et al. 2018, as recalled; not checked against its text."""

FIGURES = {
    "boston-housing": {"noisy-adam": 0.718, "noisy-kfac": 0.891},
    "concrete": {"noisy-adam": 0.811, "noisy-kfac": 0.913},
    "energy": {"noisy-adam": 0.438, "noisy-kfac": 0.617},
    "kin8nm": {"noisy-adam": 0.659, "noisy-kfac": 0.731},
    "naval-propulsion-plant": {"noisy-adam": 0.321, "noisy-kfac": 0.596},
    "power-plant": {"noisy-adam": 0.618, "noisy-kfac": 0.829},
    "wine-quality-red": {"noisy-adam": 0.918, "noisy-kfac": 0.957},
    "yacht": {"noisy-adam": 0.597, "noisy-kfac": 0.717},
}


def published(data: str, method: str) -> float | None:
    """The paper's correlation of a method on a table, if it has one."""
    return FIGURES.get(data, {}).get(method)
