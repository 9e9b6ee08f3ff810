"""A made-up release of one category in the publisher's formats, a server that has it, and a track that reads it."""

import gzip
import json
import struct
from pathlib import Path

import yaml

from lmmrec_core.fetching.sources import Publication
from tests.fetching.server import Server, page, picture, status, whole

ITEMS = [f"B00TOY{number:04}" for number in range(8)]
#: the fourth item has a dead link, the fifth a page, the sixth no link, the seventh the link of the first
LINKS = ["/0.jpg", "/1.jpg", "/2.jpg", "/dead.jpg", "/page.jpg", "", "/0.jpg", "/7.jpg"]
WITH_PICTURE = [0, 1, 2, 6, 7]


def files(server: Server) -> dict[str, bytes]:
    reviews = [
        {"reviewerID": f"U{user}", "asin": ITEMS[(user + step) % 8], "overall": 5.0, "unixReviewTime": 1000 + step}
        for user in range(8)
        for step in range(5)
    ]
    metadata = [
        {"asin": item, "title": f"Thing {item}", **({"imUrl": server.url(link)} if link else {})}
        for item, link in zip(ITEMS, LINKS, strict=True)
    ]
    vectors = b"".join(item.encode() + struct.pack("<4096f", *[1.0 + n] * 4096) for n, item in enumerate(ITEMS))
    return {
        "reviews_Toy_5.json.gz": gzip.compress("".join(json.dumps(row) + "\n" for row in reviews).encode(), mtime=0),
        "meta_Toy.json.gz": gzip.compress("".join(f"{row!r}\n" for row in metadata).encode(), mtime=0),
        "image_features_Toy.b": vectors,
    }


def serve(server: Server, **behaviour: float) -> dict[str, bytes]:
    """Put everything under its address. ``behaviour`` goes to the answers of files."""
    made = files(server)
    for name, content in made.items():
        server.routes[f"/{name}"] = whole(content, **behaviour)
        server.sizes[f"/{name}"] = len(content)
    for link in set(LINKS) - {"", "/dead.jpg", "/page.jpg"}:
        server.routes[link] = whole(picture((20 * int(link[1]), 0, 0)))
    server.routes["/dead.jpg"], server.routes["/page.jpg"] = status(404), page()
    return made


def publications(server: Server) -> dict[str, Publication]:
    """What the publisher would say of it."""
    kinds = {"reviews": ("reviews_{category}_5.json.gz", "gzip"), "metadata": ("meta_{category}.json.gz", "gzip")}
    kinds["features"] = ("image_features_{category}.b", "vectors")
    sources = [
        {"name": kind, "path": f"{{path}}/{name}", "addresses": [server.url(f"/{name}")], "content": content}
        for kind, (name, content) in kinds.items()
    ]
    return {
        "amazon": Publication.build({
            "title": "Toy release", "page": "nowhere", "licence": "none", "files": sources, "rows": {"Toy": 40},
            "pictures": {"path": "{path}/images", "hosts": [server.host]},
        })
    }  # fmt: skip


def write_track(folder: Path) -> Path:
    """A track file with the toy category as its only data set."""
    toy = {"title": "Toy", "source": "amazon", "path": "amazon/Toy", "options": {"category": "Toy"}, "k_core": None}
    track = {
        "name": "toys", "title": "Toys", "description": "made up", "where": "here", "seeds": [1],
        "datasets": {"toy": toy},
        "encoders": {"baseline": {"visual": "ready", "textual": "minilm"}}, "models": {"popularity": {}},
    }  # fmt: skip
    path = folder / "toys.yaml"
    path.write_text(yaml.safe_dump(track), encoding="utf-8")
    return path
