"""The production code over sessions of the past."""
