"""The built-in dashboard: Streamlit pages over the `bi` views, read as the reader."""
