"""Ways to forecast: one file each, behind one protocol."""
