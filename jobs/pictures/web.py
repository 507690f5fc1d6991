"""Reports as one page of HTML: tables and SVG in it, no script, nothing asked of any network."""

from html import escape

from jobs.pictures import tables
from jobs.pictures.document import Document, Table, svg
from stockbatch.text import printable

WIDTH, HEIGHT = 460, 260
"""Of a plot, in pixels: as wide as a phone, so that its words can be read there."""
STYLE = """
:root { color-scheme: light dark }
body { font-family: system-ui, sans-serif; line-height: 1.45; margin: 0 auto; padding: 1rem;
  max-width: 84rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem }
dl { display: flex; flex-wrap: wrap; gap: 0.75rem 2rem; margin: 0 }
dt { font-size: 0.8rem; opacity: 0.8 } dd { margin: 0; font-size: 1.35rem }
.plots { display: grid; gap: 1.5rem; margin-top: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)) }
figure { margin: 0 } svg { width: 100%; height: auto; display: block }
footer { font-size: 0.8rem; opacity: 0.8; margin-top: 1.5rem }
@media print {
  @page { margin: 14mm }
  :root { color-scheme: light } body { padding: 0; max-width: none; font-size: 9pt }
  .sheet { overflow: visible; font-size: 7pt } thead { display: table-header-group }
  .sheet th, .sheet td { padding: 2pt 3pt }
  .sheet thead th, .sheet td.prose, .sheet small { font-size: 6.5pt }
  .sheet thead th.number, .sheet .bar { min-width: 0 } .sheet td.prose { min-width: 7rem }
  tr, figure { break-inside: avoid } h2 { break-after: avoid }
  .plots { grid-template-columns: 1fr 1fr; gap: 6mm }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""


def html(document: Document, _size: str) -> bytes:
    """Return the page; a browser prints it on paper of any size."""
    title = escape(printable(document.title))
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in document.figures.items()
    )
    sentences = "".join(f"<p>{escape(printable(line))}</p>" for line in document.lines)
    sheets = [part for part in document.parts if isinstance(part, Table)]
    plots = [part for part in document.parts if not isinstance(part, Table)]
    drawn = "".join(f"<figure>{svg(plot, WIDTH, HEIGHT)}</figure>" for plot in plots)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title} · stockbatch</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{tables.STYLE}{STYLE}</style></head><body>"
        f"<header><h1>{title}</h1><dl>{figures}</dl>{sentences}</header>"
        f'<main>{"".join(map(_sheet, sheets))}<div class="plots">{drawn}</div></main>'
        "</body></html>"
    )
    return page.encode()


def _sheet(table: Table) -> str:
    kept, said = tables.varying(table.data, table.columns)
    all_rows = f"<p>all: {escape(' · '.join(said))}</p>" if said else ""
    heading = escape(table.heading)
    return f"<section><h2>{heading}</h2>{all_rows}{tables.html(table.data, kept)}</section>"
