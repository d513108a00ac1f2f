"""What the site adds to docs/: the README files of the repository, what pages link to, and the API reference.

Links are written as in the repository, where they work without any site; here they are turned into those of the site.
The reference follows the list of public names in `xbar_spice/__init__.pyi`, in the order and under the headings of the
guide's table of them, so that a new name needs no word here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as the hosts of repositories make them, and the pages of the reference behind the other ones."""
    config.mdx_configs["toc"]["slugify"] = anchor
    config.nav = [*(config.nav or ()), {"API reference": ["reference/index.md", *reference()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not stand in docs/."""
    for path in outer_files():
        place = ROOT / path
        if place.suffix == ".md":
            page = File.generated(config, site_path(path), abs_src_path=str(place))
        else:
            page = File.generated(config, site_path(path), content=listing(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    groups = reference()
    for path, content in (groups | {"reference/index.md": reference_index(groups)}).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    home = {site_path(path): path for path in outer_files()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(partial(_moved, home, posixpath.dirname(page.file.src_uri)), markdown)


def _moved(home: str, folder: str, link: re.Match[str]) -> str:
    target = site_path(resolved(home, link[2]))
    return f"{link[1]}{posixpath.relpath(target, folder or '.')}{link[3] or ''}"


def anchor(heading: str, separator: str) -> str:
    """The anchor of a heading: its letters, digits and hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


# --- files of the repository ----------------------------------------------------------------------------------------


def resolved(page: str, target: str) -> str:
    """The path in the repository that a link of a page leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def site_path(path: str) -> str:
    """Where a file of the repository stands in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}" if path.endswith(".md") else f"files/{path}.md"


def outer_files() -> list[str]:
    """Files and folders outside of docs/ that the site shows: the README, and all that pages link to."""
    found: dict[str, None] = {"README.md": None}
    waiting = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
    while waiting:
        page = waiting.pop(0)
        for target in (resolved(page, link[2]) for link in LINK.finditer((ROOT / page).read_text(encoding="utf-8"))):
            if target not in found and not target.startswith("docs/") and (ROOT / target).exists():
                found[target] = None
                if target.endswith(".md"):
                    waiting.append(target)
    return list(found)


def listing(path: str) -> str:
    """A page that shows a file, or what is in a folder."""
    place = ROOT / path
    head = f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n"
    if place.is_dir():
        return head + "".join(f"- `{each.name}`\n" for each in sorted(place.iterdir()) if each.name[0] not in "._")
    return f"{head}~~~~{LANGUAGES.get(place.suffix, 'text')}\n{place.read_text(encoding='utf-8')}~~~~\n"


# --- the reference --------------------------------------------------------------------------------------------------


def reference() -> dict[str, str]:
    """The pages of the reference: a group of public names each."""
    stubs = (ROOT / "xbar_spice" / "__init__.pyi").read_text(encoding="utf-8")
    homes = {name: home for home, name in re.findall(r"^from \.([\w.]+) import (\w+) as", stubs, re.M)}
    pages = {}
    for title, names in groups_of_names():
        parts = [f"::: xbar_spice.{homes[name]}.{name}\n" for name in names if not name.startswith("__")]
        slug = re.sub(r"\W+", "_", title.lower())
        pages[f"reference/{slug}.md"] = "\n".join([f"# {title[0].upper()}{title[1:]}\n", *parts])
    return pages


def groups_of_names() -> Iterator[tuple[str, list[str]]]:
    """Title and names of each row of the guide's table of names."""
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition("\n## The Python names\n")[2].partition("\n## ")[0]
    for title, cell in re.findall(r"^\| (.+?) \| (`.+?) \|$", table, re.M):
        names = re.findall(r"`(\w+)`", cell)
        if names:
            yield re.sub(r"\[(.+?)\]\(.+?\)", r"\1", title), names


def reference_index(pages: Mapping[str, str]) -> str:
    """The page in front of them: each group with links to its names."""
    rows = []
    for path, content in pages.items():
        names = [(full.rpartition(".")[2], full) for full in re.findall(r"^::: (\S+)$", content, re.M)]
        title = content.partition("\n")[0].removeprefix("# ")
        links = ", ".join(f"[`{name}`][{full}]" for name, full in names)
        rows.append(f"| [{title}]({path.removeprefix('reference/')}) | {links} |\n")
    return (
        "# API reference\n\nThe public names, `import xbar_spice as xs`. All values are in SI units; the text of every "
        "argument says its shape and unit, and what words mean stands on the page on [words](../vocabulary.md).\n\n"
        "| for | `xs.` |\n|---|---|\n" + "".join(rows)
    )
