"""What a batch of tickers is judged, trained and forecast from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import Settings
from stockbatch.engine import features
from stockbatch.engine.features import Features
from stockbatch.market.adjustments import moves
from stockbatch.market.jumps import jump_findings, jumps
from stockbatch.market.sessions import as_date
from stockbatch.records import Finding, Instrument, Market, News, Panel, Reports, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Bars of a batch of tickers with all that follows from them, the origin session last."""

    instruments: tuple[Instrument, ...]
    panel: Panel
    features: Features
    market: Market
    reports: Reports
    news: News | None
    """None: nobody asks for it."""
    jumped: NDArray[np.bool_]
    """True for returns too large to be trusted at once, (tickers, sessions)."""
    findings: tuple[tuple[Finding, ...], ...]
    """What was found in the returns, one tuple per ticker."""

    @property
    def origin(self) -> date:
        """Return the session forecast from."""
        return as_date(self.panel.sessions[-1])

    def first(self, sessions: int) -> "Material":
        """Return what followed from the first `sessions`, when they were all there was."""
        return prepare(
            self.instruments,
            cut(self.panel, slice(sessions)),
            cut(self.market, slice(sessions)),
            cut(self.reports, slice(sessions)),
            self.news and cut(self.news, slice(sessions)),
        )

    def cut(self, sessions: slice) -> "Material":
        """Return some of the sessions, with what followed from all of them."""
        return replace(
            self,
            panel=cut(self.panel, sessions),
            features=cut(self.features, sessions),
            market=cut(self.market, sessions),
            reports=cut(self.reports, sessions),
            news=self.news and cut(self.news, sessions),
            jumped=self.jumped[:, sessions].copy(),
        )

    def column(self, session: date) -> int:
        """Return the place of `session` on the axis of sessions; it must be one of them."""
        return int(np.searchsorted(self.panel.sessions, np.datetime64(session)))


def sessions_needed(settings: Settings) -> int:
    """Return how many sessions a panel must hold to judge, train and use a model.

    Those it is trained on, those their features look back on, and those by which a model in use
    may have aged.
    """
    return settings.model.history_sessions + features.REACH + settings.retrain_after_sessions


def first_session(material: Material, settings: Settings, rows: Sequence[int]) -> date:
    """Return the first session with a bar that what is trained on some rows can depend on."""
    reach = settings.model.history_sessions + features.REACH
    held = np.isfinite(material.panel.close[list(rows), -reach:]).any(axis=0)
    return as_date(material.panel.sessions[-reach:][int(np.argmax(held))])


def prepare(
    instruments: Sequence[Instrument],
    panel: Panel,
    market: Market,
    reports: Reports | None = None,
    news: News | None = None,
) -> Material:
    """Derive returns, masks and features from a panel that ends at the origin.

    `market`, `reports` and `news` are of the same sessions; of what is not given nothing is known.
    """
    moved = moves(panel)
    found = jumps(moved, panel.confirmed)
    return Material(
        instruments=tuple(instruments),
        panel=panel,
        features=features.compute(panel, found, market),
        market=market,
        reports=reports or Reports.unknown(*panel.close.shape),
        news=news,
        jumped=found.masked | found.released,
        findings=jump_findings(moved, panel.sessions, panel.confirmed),
    )


def fingerprint(panel: Panel, row: int, first: date, last: date) -> str:
    """Return the SHA-256 of one ticker's bars and actions from `first` until before `last`.

    The bar of `last` is left out: it may have been provisional when the model was trained, and
    confirming it restates no history.
    """
    inside = (panel.sessions >= np.datetime64(first)) & (panel.sessions < np.datetime64(last))
    # Volumes are left out: they are corrected for days, and no network learns from them.
    columns = (panel.open, panel.high, panel.low, panel.close, panel.split, panel.dividend)
    digest = hashlib.sha256(f"{first} {last}".encode())
    for column in columns:
        digest.update(np.ascontiguousarray(column[row, inside]).tobytes())
    return digest.hexdigest()
