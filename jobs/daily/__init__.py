"""The daily job of one exchange and session: its steps, in the order of `run`."""
