"""Molecular dynamics in LAMMPS: where the plugin lies, inputs, runs, what they wrote.

LAMMPS imports this package at its start, to ask for the folder of the plugin: nothing is imported
here.
"""
