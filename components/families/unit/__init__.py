"""UNIT (Liu et al. 2017)."""
