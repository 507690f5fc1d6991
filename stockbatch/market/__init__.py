"""What bars mean: sessions, adjustments, checks."""
