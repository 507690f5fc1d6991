"""Text as PostgreSQL takes it."""


def storable(text: str) -> str:
    """Return `text` with what no column of text can hold, NUL and lone surrogates, spelled out."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
