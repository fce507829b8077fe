"""Manifests as text: the same manifests give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from inferplan.domain.manifest import Manifest


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as people write them, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - the signature is PyYAML's
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - as above
        del indentless
        super().increase_indent(flow, indentless=False)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Write texts of several lines as such."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(manifests: Iterable[Manifest]) -> str:
    """Write manifests as one YAML stream, in the order given.

    Returns
    -------
    str
        Documents parted by ``---``, keys in the order of the templates.
    """
    documents = [
        yaml.dump(manifest.body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
        for manifest in manifests
    ]
    return "---\n".join(documents)
