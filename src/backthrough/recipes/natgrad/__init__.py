"""Experiments on posteriors over weights."""
