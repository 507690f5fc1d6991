"""Sources of daily bars: one client per module, behind one protocol."""
