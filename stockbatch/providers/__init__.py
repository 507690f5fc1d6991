"""Sources of daily bars: one client each, behind one protocol."""
