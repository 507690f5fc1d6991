"""Write the guide to the settings from their classes; a test compares it with the file.

python -m deployment.guides.configuration
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stockbatch.config import Settings
from stockbatch.providers import registry

FILE = Path(__file__).with_suffix(".md")
ABOUT = """\
# Configuration

Every setting with its default. `python -m deployment.guides.configuration` writes this page from
the program's own settings.

Option before environment before file before default:

```sh
stockbatch --set threads=4 --set model.units=32 run             # an option, before the command
STOCKBATCH_THREADS=4 STOCKBATCH_MODEL__UNITS=32 stockbatch run   # the environment
stockbatch --config settings.toml run                           # a file; default: see below
```

The file is `stockbatch.toml` in `STOCKBATCH_HOME`, or what `--config` names. A table of it, such as
`[model]`, is written `model.units` as an option and `MODEL__UNITS` in a variable:

```toml
threads = 4

[model]
units = 32

[exchanges.XTKS]
close_delay_minutes = 90

[providers.yfinance]
requests_per_second = 0.5
```

```sh
stockbatch config show          # what is in force, with its meaning; passwords hidden
stockbatch config template      # a file to start from: it is deployment/stockbatch.toml
stockbatch config check         # all that is wrong, at once; connects to nothing
```

Names nobody knows are refused, with the one that was meant. A variable that is set to nothing
counts as not set, unless its line below says what `empty` means. A secret is better kept in a file
of its own that a variable names: `STOCKBATCH_DATABASE_URL_FILE`, `STOCKBATCH_ALERT_URLS_FILE`.
"""


def main() -> None:
    FILE.write_text(guide(), encoding="utf-8")


def guide() -> str:
    """Return the whole guide."""
    every = [*tables("", Settings), *tables_of_providers()]
    return "\n".join([ABOUT, *(section(*table) for table in every)])


def tables_of_providers() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the tables of the providers that have settings."""
    for name, model in registry.models().items():
        if model().model_fields:
            yield f"providers.{name}", model()


def tables(name: str, table: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every table of the file by its name, the outer one before those inside."""
    yield name, table
    for key, field in table.model_fields.items():
        within = f"{name}.{key}" if name else key
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                inner = f"{within}.CODE" if kind is not field.annotation else within
                yield from tables(inner, kind)


def section(name: str, table: type[BaseModel]) -> str:
    """Return one table of the file as a table of the guide; nothing where it has no settings."""
    heading = f"`[{name}]`" if name else "Settings"
    about = " ".join((table.__doc__ or "").split("\n\n")[0].split())
    lines = [f"## {heading}\n\n{about}\n"]
    lines += ["| setting | default | may be | what it is |", "|---|---|---|---|"]
    for key, field in table.model_fields.items():
        if not _is_table(field):
            cells = (f"`{key}`", _default(field), _limits(field), field.description or "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _is_table(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    raw = field.get_default() == {}  # the providers' tables, which only their packages know
    return raw or any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _default(field: FieldInfo) -> str:
    """Return the default, or what stands in its place where it is not everybody's."""
    default = field.get_default()
    if default not in (PydanticUndefined, None, ()):
        return f"`{json.dumps(default)}`"
    return f"e.g. `{json.dumps(field.examples[0])}`" if field.examples else ""


def _limits(field: FieldInfo) -> str:
    """Return what a number may be, in words."""
    words = []
    for limit in field.metadata:
        match limit:
            case Ge(lowest):
                words.append(f"at least {lowest:,}")
            case Gt(lowest):
                words.append(f"above {lowest:,}")
            case Le(highest):
                words.append(f"at most {highest:,}")
            case Lt(highest):
                words.append(f"below {highest:,}")
    return ", ".join(words)


if __name__ == "__main__":
    main()
