"""The page for whoever looks at the others for the first time: the guide of the same name."""

import re
from pathlib import Path

import streamlit as st

GUIDE = "how-to-read.md"


def show() -> None:
    """Show the guide."""
    # Other guides are no pages of the dashboard: of links to them the words are left.
    st.markdown(re.sub(r"\[([^]]+)\]\((?!https?:|#)[^)]+\)", r"\1", _file().read_text("utf-8")))


def _file() -> Path:
    """Return the guide: in the wheel beside this module, in a checkout among the others."""
    here = Path(__file__)
    shipped = here.with_name(GUIDE)
    return shipped if shipped.exists() else here.parents[3] / "deployment" / "guides" / GUIDE
