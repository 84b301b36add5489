"""Plots, tables and the report of a run, from the files in its folder alone."""
