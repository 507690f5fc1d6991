"""Train or reuse models, and choose which is in use."""
