"""Charts as SVG without scripts, links, styles or ids: the page's own style sheet gives them their colours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from pygal import HorizontalBar, StackedBar
from pygal.etree import etree
from pygal.style import Style

# pygal leaves a finder of its old kind in `sys.meta_path`, at which Python 3.11 warns with each later import.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

__all__ = ["across", "over_time"]

Values = Sequence[float | None]
Format = Callable[[float], str]

_SIZES: Final = {"wide": 920, "narrow": 340}
"""Widths in px, by the class of the chart: the style sheet shows one of them."""
_LABEL: Final = {"wide": 34, "narrow": 16}
"""Characters of a label beside a bar."""
_UNWANTED: Final = {"defs", "desc", "script", "style", "title"}
_UNUSED: Final = {"titles", "plot overlay", "plot text-overlay", "plot tooltip-overlay"}
_PLACES: Final = {"x", "y", "width", "height", "d"}
_DIGITS: Final = re.compile(r"(\d\.\d\d?)\d*")
"""Of coordinates two digits are enough."""
_SERIES: Final = re.compile(r"series serie-(\d+)")


def over_time(labels: Sequence[str], rows: Sequence[tuple[str, Values]], form: Format) -> str:
    """Columns for each of *labels*, in which *rows* (a name, and a value for each label) are stacked."""
    charts = []
    for kind, width in _SIZES.items():
        chart = StackedBar(**_common(width, 300 if kind == "wide" else 220, form), show_minor_x_labels=False)
        chart.x_labels = labels
        chart.x_labels_major = labels[:: -(-len(labels) // (width // 80))]
        for name, values in rows:
            chart.add(name, values)
        charts.append(_drawn(chart, kind, [name for name, _ in rows]))
    return "".join(charts)


def across(labels: Sequence[str], rows: Sequence[tuple[str, Values]], form: Format) -> str:
    """For each of *labels* a bar for each of *rows*, from the top downwards."""
    charts = []
    for kind, width in _SIZES.items():
        height = 40 + len(labels) * (25 if len(rows) == 1 else 19 * len(rows))
        chart = HorizontalBar(**_common(width, height, form), margin_right=30)
        # It draws labels from below, and the bars of each from above.
        chart.x_labels = [_short(label, _LABEL[kind]) or "(empty)" for label in labels][::-1]
        for name, values in rows:
            chart.add(name, list(values)[::-1])
        charts.append(_drawn(chart, kind, [name for name, _ in rows]))
    return "".join(charts)


def _common(width: int, height: int, form: Format) -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "style": Style(label_font_size=12, major_label_font_size=12),
        "value_formatter": form,
        "show_legend": False,
        "js": [],
        "margin": 6,
        "spacing": 6,
        "min_scale": 3,
        "max_scale": 6,
        "truncate_label": -1,
    }


def _plain(text: str) -> str:
    """*text* on one line, without what XML does not allow."""
    return "".join(character if character.isprintable() else " " for character in text)


def _short(text: str, most: int) -> str:
    text = _plain(text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


def _drawn(chart: Any, kind: str, names: Sequence[str]) -> str:
    """The SVG, of which each wide bar says what it stands for where a pointer rests on it."""
    root = chart.render_tree()
    for series in root.iter("g"):
        if found := _SERIES.search(series.get("class", "")):
            series.set("class", f"series color-{found[1]}")
            for bar in [each for each in series.iter("g") if each.get("class") == "bar"]:
                _relabel(bar, names[int(found[1])], titled=kind == "wide")
    for group in list(root.iter()):
        for name in _PLACES & set(group.keys()):
            group.set(name, _DIGITS.sub(r"\1", group.get(name)))
        for child in list(group):
            if _is_unwanted(child) and group.tag != "rect":
                group.remove(child)
    root.attrib.pop("id", None)
    root.set("class", kind)
    root.set("aria-hidden", "true")
    return str(etree.tostring(root, encoding="unicode"))


def _relabel(bar: Any, name: str, *, titled: bool) -> None:
    """Leave of a bar what can be seen, and of what is said about it for a script a title."""
    said = {child.get("class"): child.text for child in bar if child.tag == "desc"}
    rect = bar.find("rect")
    extent = {place: rect.get(place, "0") for place in ("x", "y", "width", "height")}
    for child in list(bar):
        bar.remove(child)
    if float(extent["width"]) and float(extent["height"]):
        rect = etree.SubElement(bar, "rect", extent)
        if titled:
            etree.SubElement(rect, "title").text = f"{said.get('x_label')}: {_plain(name)}, {said['value']}"


def _is_unwanted(node: Any) -> bool:
    # A comment's tag is no text.
    return not isinstance(node.tag, str) or node.tag in _UNWANTED or node.get("class") in _UNUSED
