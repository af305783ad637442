"""Which part of an input would have to change for a classifier to answer differently."""
