"""What the REST service answers, beside what is stored."""

from datetime import datetime
from typing import Any

import numpy as np
from httpx2 import Response


def problem(answer: Response, status: int) -> Any:
    """Return an error's body after checking that it is a problem of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    return body


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare an answer with a row of a view: numbers to 1e-9, all else exactly."""
    for name, value in found.items():
        if isinstance(value, float) and not isinstance(expected[name], str):
            np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=0, err_msg=name)
        elif isinstance(expected[name], datetime):
            assert datetime.fromisoformat(value) == expected[name]
        else:
            assert str(value) == str(expected[name]), name
