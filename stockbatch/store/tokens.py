"""Bearer tokens of the REST service. Only their hashes are stored.

A token is 256 random bits: a plain SHA-256 of it cannot be guessed back, a slow hash adds nothing.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import ApiTokenRow
from stockbatch.exceptions import DuplicateToken, UnknownToken
from stockbatch.records import Token

PREFIX = "stockbatch_"
"""What every token begins with, so that a leaked one is recognised."""


def sha256(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue(
    db: Session, name: str, *, requests_per_minute: int, expires_at: datetime | None = None
) -> str:
    """Make a token and return it: nobody can see it again. Raises DuplicateToken."""
    token = PREFIX + secrets.token_urlsafe(32)
    added = db.scalar(
        insert(ApiTokenRow)
        .values(
            name=name,
            sha256=sha256(token),
            requests_per_minute=requests_per_minute,
            expires_at=expires_at,
        )
        .on_conflict_do_nothing()
        .returning(ApiTokenRow.id)
    )
    if added is None:
        raise DuplicateToken(name=name)
    return token


def revoke(db: Session, name: str) -> None:
    """End a token for good. Raises UnknownToken."""
    ended = db.scalar(
        update(ApiTokenRow)
        .where(ApiTokenRow.name == name, ApiTokenRow.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiTokenRow.id)
    )
    if ended is None:
        raise UnknownToken(name=name)


def everything(db: Session) -> Sequence[Any]:
    """Return every token ever made, the newest first, without its hash."""
    columns = [c for c in ApiTokenRow.__table__.c if c.name not in {"id", "sha256"}]
    return db.execute(select(*columns).order_by(ApiTokenRow.id.desc())).all()


def valid(db: Session) -> Mapping[str, Token]:
    """Return the tokens that are not revoked, perhaps expired, by their hash."""
    rows = db.scalars(select(ApiTokenRow).where(ApiTokenRow.revoked_at.is_(None)))
    return {
        row.sha256: Token(
            name=row.name,
            requests_per_minute=row.requests_per_minute,
            expires_at=row.expires_at,
        )
        for row in rows
    }
