"""The style of the benchmark tables."""

from __future__ import annotations

from rich import box
from rich.table import Table


def new_table(title: str, *columns: str, caption: str = "") -> Table:
    """Return an empty table: its first column is text, the others are numbers."""
    table = Table(
        title=title,
        caption=caption or None,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table
