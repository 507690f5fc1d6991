"""The application put together: routes, errors and the page that describes them."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from jobs.api import predict_route, problems, stored_routes
from jobs.api.problems import BodyLimit, Problem
from jobs.api.schemas import LARGEST_BODY
from jobs.api.surroundings import Surroundings
from jobs.words import DISCLAIMER

DESCRIPTION = f"""\
Next-session forecasts with intervals, their accuracy, and the models behind them.

**{DISCLAIMER}**

- Every question under `/v1` needs a bearer token, which answers so many requests a minute.
- Answers carry an `ETag`; send it as `If-None-Match` and get 304 while nothing has changed.
- Pages: `next` names where the next page begins.
- Errors are `application/problem+json`.
"""


def create(surroundings: Surroundings) -> FastAPI:
    """Return the ASGI application that works with these."""
    app = FastAPIOffline(
        redoc_url=None,
        title="stockbatch",
        summary="Not investment advice.",
        description=DESCRIPTION,
        version=version("stockbatch"),
        redirect_slashes=False,
        static_url="/docs-files",
    )
    app.state.surroundings = surroundings
    app.include_router(stored_routes.open_router)
    app.include_router(stored_routes.router)
    app.include_router(predict_route.router)
    problems.handle(app)
    app.add_middleware(BodyLimit, most=LARGEST_BODY)

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("docs")

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        schema["components"]["schemas"]["Fault"] = problems.Fault.model_json_schema()
        template = "#/components/schemas/{model}"
        described = Problem.model_json_schema(ref_template=template)
        described.pop("$defs")
        schema["components"]["schemas"]["Problem"] = described
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
