"""Experiments with predictions that know how sure they are."""
