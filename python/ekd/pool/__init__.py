"""Thousands of geometries with energies and forces of a cheap calculator."""

from ekd.pool.build import Pool, build_pool
from ekd.pool.pool_summary import Summary

__all__ = ["Pool", "Summary", "build_pool"]
