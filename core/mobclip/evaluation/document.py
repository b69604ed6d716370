"""A report as data: sections of text, tables and figures, written as HTML or as Markdown.

What a report says is in `report`; this module knows only how to write it down. Every string is
escaped here, in one place, so that a run called `<b>` is shown as that.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Literal

from mobclip.evaluation.figures import Drawing


@dataclass(frozen=True)
class Code:
    """A name as it is typed: of a run, a column, a file."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What the eye should find first."""

    text: str


Part = str | Code | Strong
Text = Part | Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Some text; a note is small, a warning stands in a box."""

    text: Text
    kind: Literal["plain", "note", "warning", "stamp"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of texts."""

    items: Sequence[Text]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and what they are, side by side."""

    rows: Sequence[tuple[Text, Text]]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number that answers one question."""

    question: str
    number: str
    detail: Text


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """A few numbers in large type."""

    tiles: Sequence[Tile]


@dataclass(frozen=True, kw_only=True)
class Column:
    """Head of one column of a table."""

    title: Text
    align: Literal["left", "right"] = "right"
    upright: bool = False  # the title stands: for many columns of short numbers


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One field of a table."""

    text: Text
    under: Text = ""  # small print below
    shade: float | None = None  # 0 as light as the page, 1 darkest; below 0 hatched
    best: bool = False  # the best of its row


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table under a title that says what it shows."""

    title: Text
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | Text]]
    note: Text = ""
    folded: bool = False  # opens on a click (HTML), for those who want every number


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing under a title that says what it shows; HTML only, its numbers are in a table."""

    title: Text
    drawing: Drawing
    alt: str
    note: Text = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures and tables side by side, where there is room."""

    blocks: Sequence[Figure | Table]


Block = Paragraph | Bullets | Facts | Tiles | Table | Figure | Row


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and its answer."""

    name: str  # of its anchor
    title: str
    blocks: Sequence[Block]


# ---- HTML ------------------------------------------------------------------------------------


def to_html(*, title: str, kicker: str, head: Sequence[Block], sections: Sequence[Section]) -> str:
    """One self-contained page: no script, nothing loaded from anywhere."""
    style = resources.files("mobclip.evaluation").joinpath("document.css").read_text("utf-8")
    contents = "".join(
        f'<li><a href="#{html.escape(one.name)}">{html.escape(one.title)}</a></li>'
        for one in sections
    )
    body = "\n".join(
        f'<section id="{html.escape(one.name)}"><h2>{html.escape(one.title)}</h2>\n'
        f"{_blocks(one.blocks)}\n</section>"
        for one in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{html.escape(kicker)}</p>
<h1>{html.escape(title)}</h1>
{_blocks(head)}
</header>
<nav aria-label="Contents"><ol>{contents}</ol></nav>
{body}
</main>
</body>
</html>
"""


def _blocks(blocks: Sequence[Block]) -> str:
    lines: list[str] = []
    above: Text = ""
    for block in blocks:
        if isinstance(block, Table) and block.note == above:
            # Under its figure a table need not say again what the figure says.
            lines.append(_table(replace(block, note="")))
        else:
            lines.append(_block(block))
        above = block.note if isinstance(block, Figure) else ""
    return "\n".join(lines)


def _block(block: Block) -> str:
    match block:
        case Paragraph(kind="plain"):
            return f"<p>{_inline(block.text)}</p>"
        case Paragraph(kind="warning"):
            return f'<p class="warning" role="note"><b>Warning.</b> {_inline(block.text)}</p>'
        case Paragraph():
            return f'<p class="{block.kind}">{_inline(block.text)}</p>'
        case Bullets():
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in block.items) + "</ul>"
        case Facts():
            pairs = "".join(
                f"<div><dt>{_inline(name)}</dt><dd>{_inline(what)}</dd></div>"
                for name, what in block.rows
            )
            return f"<dl>{pairs}</dl>"
        case Tiles():
            return '<div class="tiles">' + "".join(map(_tile, block.tiles)) + "</div>"
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)
        case Row():
            return '<div class="row">' + _blocks(block.blocks) + "</div>"


def _inline(text: Text) -> str:
    def one(part: Part) -> str:
        match part:
            case Code():
                return f"<code>{html.escape(part.text)}</code>"
            case Strong():
                return f"<b>{html.escape(part.text)}</b>"
            case _:
                return html.escape(part)

    return one(text) if isinstance(text, Part) else "".join(map(one, text))


def _tile(tile: Tile) -> str:
    return (
        f'<div class="tile"><p class="question">{html.escape(tile.question)}</p>'
        f'<p class="number">{html.escape(tile.number)}</p>'
        f"<p>{_inline(tile.detail)}</p></div>"
    )


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col" class="{column.align}{" upright" if column.upright else ""}">'
        f"<span>{_inline(column.title)}</span></th>"
        for column in table.columns
    )
    lines = []
    for row in table.rows:
        cells = [one if isinstance(one, Cell) else Cell(text=one) for one in row]
        lines.append(
            "<tr>"
            + "".join(
                _td(cell, column, first=i == 0)
                for i, (cell, column) in enumerate(zip(cells, table.columns, strict=True))
            )
            + "</tr>"
        )
    inner = (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_note(table.note)}"
    )
    if table.folded:
        return f"<details><summary>{_inline(table.title)}</summary>{inner}</details>"
    return f'<div class="table"><h3>{_inline(table.title)}</h3>{inner}</div>'


def _td(cell: Cell, column: Column, *, first: bool) -> str:
    classes: list[str] = [column.align]
    if cell.shade is not None:
        level = round(10 * min(max(cell.shade, 0.0), 1.0))
        classes.append("below" if cell.shade < 0 else f"shade shade{level}")
    if cell.best:
        classes.append("best")
    under = f"<small>{_inline(cell.under)}</small>" if cell.under else ""
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    return f'<{tag}{scope} class="{" ".join(classes)}">{_inline(cell.text)}{under}</{tag}>'


def _figure(figure: Figure) -> str:
    wide, narrow = figure.drawing.wide, figure.drawing.narrow
    drawings = [("both", wide)] if narrow is None else [("wide", wide), ("narrow", narrow)]
    plots = "".join(
        f'<div class="plot {kind}" role="img" aria-label="{html.escape(figure.alt)}">{svg}</div>'
        for kind, svg in drawings
    )
    return (
        f"<figure><figcaption><h3>{_inline(figure.title)}</h3></figcaption>{plots}"
        f"{_note(figure.note)}</figure>"
    )


def _note(text: Text) -> str:
    return f'<p class="note">{_inline(text)}</p>' if text else ""


# ---- Markdown --------------------------------------------------------------------------------


def to_markdown(
    *, title: str, kicker: str, head: Sequence[Block], sections: Sequence[Section]
) -> str:
    """The same as Markdown, without the figures."""
    parts = [f"# {plain(title)}", plain(kicker), *map(block_markdown, head)]
    for section in sections:
        parts += [f"## {plain(section.title)}", *map(block_markdown, section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def block_markdown(block: Block) -> str:
    """One block as Markdown; empty for a figure."""
    match block:
        case Paragraph(kind="warning"):
            return f"> **Warning.** {plain(block.text)}"
        case Paragraph():
            return plain(block.text)
        case Bullets():
            return "\n".join(f"- {plain(item)}" for item in block.items)
        case Facts():
            return "\n".join(f"- **{plain(name)}**: {plain(what)}" for name, what in block.rows)
        case Tiles():
            return "\n".join(
                f"- {plain(tile.question)} **{plain(tile.number)}** {plain(tile.detail)}"
                for tile in block.tiles
            )
        case Table():
            lines = [f"**{plain(block.title)}**", "", *table_markdown(block)]
            return "\n".join([*lines, "", plain(block.note)] if block.note else lines)
        case Row():
            return "\n\n".join(filter(None, map(block_markdown, block.blocks)))
        case Figure():
            return ""


def table_markdown(table: Table) -> list[str]:
    """Lines of a Markdown table; the best of a row is bold."""
    rule = "".join("---:|" if column.align == "right" else "---|" for column in table.columns)
    lines = [
        "| " + " | ".join(plain(column.title) for column in table.columns) + " |",
        "|" + rule,
    ]
    for row in table.rows:
        fields = []
        for one in row:
            cell = one if isinstance(one, Cell) else Cell(text=one)
            text = f"**{plain(cell.text)}**" if cell.best else plain(cell.text)
            fields.append(f"{text} ({plain(cell.under)})" if cell.under else text)
        lines.append("| " + " | ".join(fields) + " |")
    return lines


def plain(text: Text) -> str:
    """Text as one line of Markdown in which only our own marks are marks."""

    def one(part: Part) -> str:
        match part:
            case Code():
                # A backtick would end the name, a bar the field of the table around it.
                return "`" + _line(part.text).replace("`", "'").replace("|", "\\|") + "`"
            case Strong():
                return f"**{_escaped(part.text)}**"
            case _:
                return _escaped(part)

    return one(text) if isinstance(text, Part) else "".join(map(one, text))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*|<]|(?<!\w)_|_(?!\w))", r"\\\1", _line(text))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
