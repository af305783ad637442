"""Which part of a photograph makes a classifier see a white blood cell (FIDO, Chang et al. 2019)."""
