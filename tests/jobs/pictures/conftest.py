"""Pages of the dashboard, for tests that need no browser."""

import re

import pytest
import streamlit
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from jobs.pictures.dashboard import page as dashboard_page
from stockbatch import database
from stockbatch.config import PREFIX


@pytest.fixture
def open_page(settings, server, monkeypatch):
    """Open a page of the dashboard on the database of `settings`, as the reader's own login."""
    monkeypatch.setattr(dashboard_page, "_chosen", None)
    name = database.url(settings).database
    address = database.for_clients(server.url("reader").set(database=name))
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", address)
    monkeypatch.setenv(f"{PREFIX}HOME", str(settings.home))
    # Streamlit would look for components of other packages in every one installed, at every page.
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", list)

    def visited(page, *opened, **query):
        script = f"""
            from jobs.pictures.dashboard import {page}
            from jobs.pictures.dashboard.page import shown
            shown({page}.show)()
        """
        app = AppTest.from_string(re.sub("^ +", "", script, flags=re.MULTILINE), default_timeout=30)
        app.query_params.update(query)
        for key in opened:
            app.session_state[key] = True
        app.run()
        assert not app.exception
        return app

    yield visited
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()
