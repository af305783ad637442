"""Splice junctions: whether an explanation finds the two letters that biology knows."""
