"""Which part of a scene makes a classifier see a digit, where the exact mask is known (FIDO)."""
