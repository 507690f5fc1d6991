"""Bars from CSV files."""
