"""Write an image of one layer, or of one on top of a base, as an OCI layout. Layers stay uncompressed: they travel on
this machine only.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from lab.standins import Image

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CHUNK = 1 << 20


class _Hashed(io.RawIOBase):
    """A file that knows the sha256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.sha256.update(data)
        return self._file.write(data)


def _parents(names: Iterable[str]) -> list[str]:
    found = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return sorted(found - {"/", "."})


def _entry(name: str, mode: int, owner: tuple[int, int] = (0, 0), kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.mode, entry.mtime = kind, mode, 0
    entry.uid, entry.gid = owner
    return entry


def write_layer(image: Image, file: IO[bytes], with_parents: bool) -> str:
    """Write the image's files as a tar; returns its sha256. On top of a base the parents are the base's own."""
    target = _Hashed(file)
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        directories = (
            dict.fromkeys(_parents([*image.files, *image.links, *image.directories]), (0, 0, 493))
            if with_parents
            else {}
        )
        for name, (uid, gid, mode) in sorted({**directories, **image.directories}.items()):
            tar.addfile(_entry(name, mode, (uid, gid), tarfile.DIRTYPE))
        for name, content in sorted(image.files.items()):
            if isinstance(content, Path):
                entry = _entry(name, 0o755)
                entry.size = content.stat().st_size
                with content.open("rb") as source:
                    tar.addfile(entry, source)
            else:
                entry = _entry(name, 0o644)
                entry.size = len(content.encode())
                tar.addfile(entry, io.BytesIO(content.encode()))
        for name, destination in sorted(image.links.items()):
            entry = _entry(name, 0o777, kind=tarfile.SYMTYPE)
            entry.linkname = destination
            tar.addfile(entry)
    return target.sha256.hexdigest()


def configuration(image: Image, layers: list[str], architecture: str) -> dict[str, object]:
    """The image's config; layers are their sha256."""
    settings = {
        "User": image.user,
        "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
        "Entrypoint": list(image.entrypoint),
        "WorkingDir": image.working_directory,
        "Labels": dict(image.labels),
    }
    root = {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]}
    return {"architecture": architecture, "os": "linux", "config": settings, "rootfs": root}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_layout(image: Image, directory: Path, architecture: str, base: Path | None = None) -> str:
    """Write the OCI layout of an image; returns the manifest's sha256."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = []
    if base is not None:
        layers.append(_digest(base))
        os.link(base, blobs / layers[0])
    unnamed = blobs / "layer"
    with unnamed.open("wb") as file:
        layers.append(write_layer(image, file, with_parents=base is None))
    unnamed.rename(blobs / layers[-1])

    def described(kind: str, sha256: str) -> dict[str, object]:
        return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": (blobs / sha256).stat().st_size}

    def stored(content: dict[str, object]) -> str:
        text = json.dumps(content, sort_keys=True).encode()
        sha256 = hashlib.sha256(text).hexdigest()
        (blobs / sha256).write_bytes(text)
        return sha256

    config = described(CONFIG, stored(configuration(image, layers, architecture)))
    manifest = stored(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [described(LAYER, layer) for layer in layers],
        }
    )
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described(MANIFEST, manifest)]}
    (directory / "index.json").write_text(json.dumps(index))
    return manifest
