"""What a page of the dashboard says, of one opened without a browser."""

from typing import Any

from streamlit.testing.v1 import AppTest

from tests.support.sheets import sheets


def texts(app: AppTest) -> str:
    """Return what a page says outside its tables and figures."""
    boxes = (app.info, app.warning, app.error, app.caption, app.markdown)
    return "\n".join(box.value for group in boxes for box in group)


def tables(app: AppTest) -> list[list[dict[str, str]]]:
    """Return the tables of a page, each as its rows by their headings."""
    return [table for box in app.get("html") for table in sheets(box.proto.body)]


def figures(app: AppTest) -> dict[str, Any]:
    """Return the large numbers of a page by their names."""
    return {figure.label: figure.value for figure in app.metric}
