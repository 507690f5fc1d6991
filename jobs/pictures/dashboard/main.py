"""The script that Streamlit runs for every visit."""

import streamlit as st

from jobs.pictures.dashboard import accuracy, how_to_read, operations, overview, risk, ticker
from jobs.pictures.dashboard.page import shown

st.set_page_config(page_title="stockbatch", layout="wide", initial_sidebar_state="collapsed")
pages = [
    st.Page(shown(overview.show), title="Overview", default=True),
    st.Page(shown(ticker.show), title="Ticker", url_path="ticker"),
    st.Page(shown(risk.show), title="Risk", url_path="risk"),
    st.Page(shown(accuracy.show), title="Accuracy", url_path="accuracy"),
    st.Page(shown(operations.show), title="Operations", url_path="operations"),
    st.Page(shown(how_to_read.show), title="How to read this", url_path="how-to-read"),
]
st.navigation(pages, position="top").run()
