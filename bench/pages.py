"""Pages from templates; jinja2 escapes whatever comes from a model or a data set."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import UnavailableError

_TEMPLATES = Path(__file__).with_name("templates")


def render(name: str, **values: object) -> str:
    """The page of `name`; raises UnavailableError where jinja2 is not installed."""
    try:
        import jinja2
    except ImportError as error:
        raise UnavailableError("a page needs jinja2: pip install '.[accuracy]' in the clone") from error
    loader: jinja2.BaseLoader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(f"{name}.html").render(**values)
