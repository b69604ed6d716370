"""Uploads kept for good: the files, and the manifest that reads them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from mobclip.errors import ConfigError
from mobclip.manifest import load_manifest
from mobclip.storage import atomic_path, file_sha256
from mobclip.uploads import entry
from mobclip.uploads.report import Check
from mobclip.uploads.sheet import Sheet
from mobclip.uploads.wanted import Wanted


def save(data: Path, sheets: Sequence[Sheet], wanted: Wanted, checked: Check) -> Path:
    """Copy the files and write their manifest to `<data>/uploads/<name>/`; all of it or nothing.

    `mobclip --manifest FOLDER/data_manifest.yaml --mirror FOLDER tokenize NAME` takes it.
    """
    if not checked.good:
        raise ConfigError("this cannot be made yet: " + " ".join(checked.problems))
    folder = data / "uploads" / wanted.name
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name.")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        hashes = {}
        for sheet in sheets:
            shutil.copyfile(sheet.path, temporary / sheet.file_name)
            hashes[sheet.kind] = file_sha256(temporary / sheet.file_name)
        document = entry.document(sheets, wanted, checked.area, checked.repairs, hashes)
        path = temporary / "data_manifest.yaml"
        head = "# Made by the app; the reference of all keys: python -m pydoc mobclip.manifest\n"
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=90)
        path.write_text(head + text, "utf-8")
        load_manifest(path)
    return folder
