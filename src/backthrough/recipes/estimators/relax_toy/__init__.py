"""The toy problem of RELAX: minimise E[(b - t)^2] over one logit (Grathwohl et al. 2018, sec. 5.1)."""
