"""A variational auto-encoder on binarised digits (Kingma and Welling 2014; Burda et al. 2015)."""
